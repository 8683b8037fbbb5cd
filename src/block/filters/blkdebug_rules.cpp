#include "block/filters/blkdebug_rules.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <fstream>

#include "base/text.h"

namespace doppel::block {

namespace {

constexpr std::uint64_t kSector = 512;
constexpr std::uint64_t kMostErrno = 4095;
constexpr std::size_t kMostRules = 1000;

/// QEMU's events, of which Doppel's nodes know those that they have: the others never come.
constexpr auto kEvents = std::to_array<std::string_view>({
    "l1_update",
    "l1_grow_alloc_table",
    "l1_grow_write_table",
    "l1_grow_activate_table",
    "l2_load",
    "l2_update",
    "l2_update_compressed",
    "l2_alloc_cow_read",
    "l2_alloc_write",
    "read_aio",
    "read_backing_aio",
    "read_compressed",
    "write_aio",
    "write_compressed",
    "vmstate_load",
    "vmstate_save",
    "cow_read",
    "cow_write",
    "reftable_load",
    "reftable_grow",
    "reftable_update",
    "refblock_load",
    "refblock_update",
    "refblock_update_part",
    "refblock_alloc",
    "refblock_alloc_hookup",
    "refblock_alloc_write",
    "refblock_alloc_write_blocks",
    "refblock_alloc_write_table",
    "refblock_alloc_switch_table",
    "cluster_alloc",
    "cluster_alloc_bytes",
    "cluster_free",
    "flush_to_os",
    "flush_to_disk",
    "pwritev_rmw_head",
    "pwritev_rmw_after_head",
    "pwritev_rmw_tail",
    "pwritev_rmw_after_tail",
    "pwritev",
    "pwritev_zero",
    "pwritev_done",
    "empty_image_prepare",
    "l1_shrink_write_table",
    "l1_shrink_free_l2_clusters",
    "cor_write",
    "cluster_alloc_space",
    "none",
});

constexpr auto kIoTypes = std::to_array<std::pair<std::string_view, IoType>>({
    {"read", IoType::kRead},
    {"write", IoType::kWrite},
    {"write-zeroes", IoType::kWriteZeroes},
    {"discard", IoType::kDiscard},
    {"flush", IoType::kFlush},
    {"block-status", IoType::kBlockStatus},
});

Result<> check_event(const std::string& name) {
  NearestName nearest(name);
  for (const std::string_view event : kEvents) {
    if (event == name) return {};
    nearest.offer(event);
  }
  return fail(ErrorKind::kInvalidArgument, "'{}' is no event{}", name, nearest.suggestion());
}

/// A rule's options by name, each taken once.
class RuleReader {
 public:
  RuleReader(std::string_view kind, const OptionTexts& options) : kind_(kind) {
    for (const auto& [name, value] : options) {
      std::string dashed = name;
      std::ranges::replace(dashed, '_', '-');
      options_[dashed] = value;
    }
  }
  Result<std::string> event() {
    DOPPEL_ASSIGN(const std::string name, required("event"));
    DOPPEL_TRY(check_event(name));
    return name;
  }
  Result<std::string> required(std::string_view name) {
    const auto text = take(name);
    if (!text || text->empty()) return fail(ErrorKind::kInvalidArgument, "a rule of {} needs {}", kind_, name);
    return *text;
  }
  Result<std::uint64_t> number(std::string_view name, std::uint64_t otherwise, std::uint64_t most) {
    const auto text = take(name);
    if (!text) return otherwise;
    const auto value = parse_number(*text);
    if (value && *value <= most) return *value;
    return fail(ErrorKind::kInvalidArgument, "{} expects a number up to {}, not '{}'", name, most, *text);
  }
  Result<bool> flag(std::string_view name) {
    const auto text = take(name);
    if (!text) return false;
    if (const auto value = parse_bool(*text)) return *value;
    return fail(ErrorKind::kInvalidArgument, "{} expects 'on' or 'off', not '{}'", name, *text);
  }
  std::optional<std::string> take(std::string_view name) {
    asked_.emplace_back(name);
    const auto found = options_.find(name);
    if (found == options_.end()) return std::nullopt;
    std::string text = std::move(found->second);
    options_.erase(found);
    return text;
  }
  [[nodiscard]] Result<> finish() const {
    if (options_.empty()) return {};
    NearestName nearest(options_.begin()->first);
    for (const std::string& name : asked_) nearest.offer(name);
    return fail(ErrorKind::kNotFound, "a rule of {} has no option '{}'{}", kind_, options_.begin()->first,
                nearest.suggestion());
  }

 private:
  std::string_view kind_;
  OptionTexts options_;
  std::vector<std::string> asked_;
};

Result<InjectError> read_inject_error(RuleReader& reader) {
  InjectError rule;
  DOPPEL_ASSIGN(rule.event, reader.event());
  DOPPEL_ASSIGN(const std::uint64_t state, reader.number("state", 0, ~0U));
  rule.state = static_cast<unsigned>(state);
  DOPPEL_ASSIGN(const std::uint64_t error, reader.number("errno", EIO, kMostErrno));
  rule.error = static_cast<int>(error);
  DOPPEL_ASSIGN(rule.once, reader.flag("once"));
  DOPPEL_TRY(reader.flag("immediately"));  // here a failing request always fails at once
  if (const auto type = reader.take("iotype")) {
    const auto found = std::ranges::find(kIoTypes, *type, &std::pair<std::string_view, IoType>::first);
    if (found == kIoTypes.end()) return fail(ErrorKind::kInvalidArgument, "'{}' is no iotype", *type);
    rule.io_type = found->second;
  }
  const auto sector = reader.take("sector");
  if (sector && *sector != "-1") {
    const auto number = parse_number(*sector);
    if (!number || *number > ~std::uint64_t{0} / kSector)
      return fail(ErrorKind::kInvalidArgument, "sector expects a number, not '{}'", *sector);
    rule.offset = *number * kSector;
  }
  DOPPEL_TRY(reader.finish());
  return rule;
}

Result<SetState> read_set_state(RuleReader& reader) {
  SetState rule;
  DOPPEL_ASSIGN(rule.event, reader.event());
  DOPPEL_ASSIGN(const std::uint64_t state, reader.number("state", 0, ~0U));
  rule.state = static_cast<unsigned>(state);
  DOPPEL_ASSIGN(const std::string text, reader.required("new-state"));
  const auto new_state = parse_number(text);
  if (!new_state || *new_state > ~0U)
    return fail(ErrorKind::kInvalidArgument, "new-state expects a number, not '{}'", text);
  rule.new_state = static_cast<unsigned>(*new_state);
  DOPPEL_TRY(reader.finish());
  return rule;
}

std::string_view trim(std::string_view text) {
  const auto begin = text.find_first_not_of(" \t\r");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\r") - begin + 1);
}

/// name = "value", the quotes optional.
Result<> read_assignment(std::string_view line, OptionTexts& options) {
  const auto equals = line.find('=');
  const std::string_view name = trim(line.substr(0, equals));
  if (equals == std::string_view::npos || name.empty())
    return fail(ErrorKind::kInvalidArgument, "'{}' is not of the form name = \"value\"", line);
  std::string_view value = trim(line.substr(equals + 1));
  if (value.size() >= 2 && value.front() == '"' && value.back() == '"') value = value.substr(1, value.size() - 2);
  options[std::string(name)] = value;
  return {};
}

}  // namespace

Result<> BlkdebugRules::add(std::string_view kind, const OptionTexts& options) {
  if (errors.size() + states.size() >= kMostRules)
    return fail(ErrorKind::kInvalidArgument, "there are more than {} rules", kMostRules);
  RuleReader reader(kind, options);
  if (kind == "inject-error") {
    DOPPEL_ASSIGN(InjectError rule, read_inject_error(reader));
    errors.push_back(std::move(rule));
  } else if (kind == "set-state") {
    DOPPEL_ASSIGN(SetState rule, read_set_state(reader));
    states.push_back(std::move(rule));
  } else {
    return fail(ErrorKind::kNotFound, "there are no rules of kind '{}', only inject-error and set-state", kind);
  }
  return {};
}

Result<> BlkdebugRules::add_file(const std::string& path) {
  std::ifstream file(path);
  if (!file) return fail_errno("cannot open '{}'", path);
  std::string kind;
  OptionTexts options;
  unsigned number = 0;
  const auto finish_section = [&]() -> Result<> {
    if (kind.empty()) return {};
    auto added = add(kind, std::exchange(options, {}));
    if (!added) return std::unexpected(std::move(added).error().wrap(fmt::format("'{}' before line {}", path, number)));
    return added;
  };
  for (std::string text; std::getline(file, text);) {
    ++number;
    const std::string_view line = trim(text);
    if (line.empty() || line.front() == '#') continue;
    if (line.front() == '[') {
      DOPPEL_TRY(finish_section());
      kind = trim(line.substr(1, line.find(']') == std::string_view::npos ? 0 : line.find(']') - 1));
    } else if (kind.empty()) {
      return fail(ErrorKind::kInvalidArgument, "'{}' line {}: a section such as [inject-error] is missing", path,
                  number);
    } else if (auto read = read_assignment(line, options); !read) {
      return std::unexpected(std::move(read).error().wrap(fmt::format("'{}' line {}", path, number)));
    }
  }
  ++number;
  return finish_section();
}

BlkdebugMachine::BlkdebugMachine(BlkdebugRules rules) : rules_(std::move(rules)) {
  for (const InjectError& rule : rules_.errors)
    if (rule.event == "none") active_.push_back(rule);
}

/// The rules of an event that injects errors take the place of those before; the state changes behind all of them.
void BlkdebugMachine::event(std::string_view name) {
  bool first = true;
  unsigned new_state = state_;
  for (const InjectError& rule : rules_.errors) {
    if (rule.event != name || (rule.state != 0 && rule.state != state_)) continue;
    if (std::exchange(first, false)) active_.clear();
    active_.push_back(rule);
  }
  for (const SetState& rule : rules_.states)
    if (rule.event == name && (rule.state == 0 || rule.state == state_)) new_state = rule.new_state;
  state_ = new_state;
}

int BlkdebugMachine::fault(IoType type, std::uint64_t offset, std::uint64_t length) {
  const auto applies = [&](const InjectError& rule) {
    if (rule.io_type ? *rule.io_type != type : type == IoType::kBlockStatus) return false;
    return !rule.offset || (offset <= *rule.offset && *rule.offset - offset < length);
  };
  const auto found = std::ranges::find_if(active_, applies);
  if (found == active_.end()) return 0;
  const int error = found->error;
  if (found->once) active_.erase(found);
  return error;
}

}  // namespace doppel::block
