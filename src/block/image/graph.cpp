#include "block/image/graph.h"

#include <algorithm>
#include <array>

#include "base/text.h"
#include "block/filters/access_node.h"
#include "block/image/drivers.h"

namespace doppel::block {
namespace {

/// Deeper than that, a graph is a mistake or an attack.
constexpr unsigned kDeepest = 100;

/// Options that every node has.
constexpr auto kCommonRows = std::to_array<NodeOptionRow>({
    {.name = "driver", .type = OptionType::kText},
    {.name = "node-name", .type = OptionType::kText},
    {.name = "read-only", .type = OptionType::kBool},
    {.name = "auto-read-only", .type = OptionType::kBool},
    {.name = "discard", .type = OptionType::kChoice, .choices = "ignore unmap off on"},
    {.name = "detect-zeroes", .type = OptionType::kChoice, .choices = "off on unmap"},
    {.name = "force-share", .type = OptionType::kBool},
    {.name = "cache.direct", .type = OptionType::kBool},
    {.name = "cache.no-flush", .type = OptionType::kBool},
    {.name = "cache.writeback", .type = OptionType::kBool},
});

Result<> check_name(const std::string& name) {
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  const auto inner = [&](char c) { return letter(c) || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_'; };
  if (!name.empty() && name.size() <= 31 && letter(name[0]) && std::ranges::all_of(name, inner)) return {};
  return fail(ErrorKind::kInvalidArgument,
              "a node-name is a letter and then up to 30 letters, digits, '-', '.' or '_', not '{}'", name);
}

/// The driver that the options name, or that follows from them.
Result<std::string> driver_of(const NodeOptions& options) {
  if (auto driver = options.text("driver"); driver && !driver->empty()) return *driver;
  if (options.has("file") || options.has_members("file")) return "";  // by the first bytes of the file
  if (const auto filename = options.text("filename")) return std::string(driver_of_filename(*filename));
  return fail(ErrorKind::kInvalidArgument, "a node needs driver=, such as driver=qcow2");
}

Result<const Driver*> check_options(const NodeOptions& options) {
  DOPPEL_ASSIGN(const std::string name, driver_of(options));
  DOPPEL_ASSIGN(const Driver* driver, find_driver(name));
  DOPPEL_TRY(options.check(name.empty() ? "a node without a driver" : fmt::format("driver '{}'", name), kCommonRows,
                           driver->rows));
  if (const auto node_name = options.text("node-name")) DOPPEL_TRY(check_name(*node_name));
  return driver;
}

OpenRules own_rules(const NodeOptions& options, OpenRules rules) {
  FileOptions& file = rules.file;
  if (const auto read_only = options.flag("read-only")) file.writable = !*read_only;
  if (const auto direct = options.flag("cache.direct")) file.direct = *direct;
  if (const auto no_flush = options.flag("cache.no-flush")) file.skip_flush = *no_flush;
  if (options.flag("force-share").value_or(false)) file.locking = FileLocking::kOff;
  if (const auto discard = options.text("discard")) rules.unmap = *discard == "unmap" || *discard == "on";
  return rules;
}

AccessRules access_rules(const NodeOptions& options, const OpenRules& rules, const Node& node) {
  AccessRules access{.read_only = !rules.file.writable && !node.read_only(), .unmap = rules.unmap};
  const std::string detect = options.text_or("detect-zeroes", "off");
  if (detect == "on") access.detect_zeroes = DetectZeroes::kOn;
  if (detect == "unmap") access.detect_zeroes = DetectZeroes::kUnmap;
  return access;
}

}  // namespace

struct Graph::NamedNode {
  struct User {
    std::string who;
    bool writes;
  };
  std::string name;
  NodePtr node;
  std::vector<User> users{};
  bool closed = false;

  Task<Result<>> close() {
    if (std::exchange(closed, true)) co_return Result<>{};
    co_return co_await node->close();
  }
};

/// What an owner of a named node has: passes on all but the closing, which the last one does.
class Graph::NodeUse final : public Node {
 public:
  NodeUse(NamedPtr named, std::string who, bool writes) : named_(std::move(named)), who_(who), writes_(writes) {
    named_->users.push_back({std::move(who), writes});
  }
  ~NodeUse() override { leave(); }

  [[nodiscard]] std::uint64_t size() const override { return node().size(); }
  [[nodiscard]] bool read_only() const override { return !writes_ || node().read_only(); }
  Task<Result<>> read(std::uint64_t offset, IoView to) override { return node().read(offset, to); }
  Task<Result<>> write(std::uint64_t offset, IoView from) override {
    if (!writes_) return refuse();
    return node().write(offset, from);
  }
  Task<Result<>> write_zeroes(std::uint64_t offset, std::uint64_t length, Unmap unmap) override {
    if (!writes_) return refuse();
    return node().write_zeroes(offset, length, unmap);
  }
  Task<Result<>> discard(std::uint64_t offset, std::uint64_t length) override {
    if (!writes_) return refuse();
    return node().discard(offset, length);
  }
  Task<Result<>> flush() override { return node().flush(); }
  Task<Result<BlockStatus>> block_status(std::uint64_t offset, std::uint64_t length) override {
    return node().block_status(offset, length);
  }
  Task<Result<>> resize(std::uint64_t size, Preallocation preallocation) override {
    if (!writes_) return refuse();
    return node().resize(size, preallocation);
  }
  Task<Result<>> close() override {
    leave();
    if (!named_->users.empty()) co_return Result<>{};
    co_return co_await named_->close();
  }
  void hurry() override { node().hurry(); }
  void debug_event(std::string_view event) override { node().debug_event(event); }
  [[nodiscard]] Node* filtered() const override { return named_->node.get(); }
  [[nodiscard]] Node* backing() const override { return node().backing(); }
  [[nodiscard]] NodeInfo info() const override { return node().info(); }

 private:
  [[nodiscard]] Node& node() const { return *named_->node; }
  Task<Result<>> refuse() const {
    co_return fail(ErrorKind::kPermissionDenied, "'{}' only reads node '{}'", who_, named_->name);
  }
  void leave() {
    if (std::exchange(left_, true)) return;
    auto& users = named_->users;
    users.erase(
        std::ranges::find_if(users, [&](const auto& user) { return user.who == who_ && user.writes == writes_; }));
  }

  NamedPtr named_;
  const std::string who_;
  const bool writes_;
  bool left_ = false;
};

Graph::Graph(Context& context, Fatal fatal) : context_(context), fatal_(std::move(fatal)) {}

Graph::~Graph() {
  // From the top: a parent's closing closes what only it uses. Nobody is left to tell of an error.
  for (auto it = named_.rbegin(); it != named_.rend(); ++it)
    if ((*it)->users.empty()) (void)run_to_end(context_.loop(), (*it)->close());
}

Graph::NamedPtr Graph::find(std::string_view name) const {
  const auto found = std::ranges::find_if(named_, [&](const NamedPtr& named) { return named->name == name; });
  return found == named_.end() ? nullptr : *found;
}

void Graph::offer_names(NearestName& nearest) const {
  for (const NamedPtr& named : named_) nearest.offer(named->name);
}

Result<NodePtr> Graph::claim(std::string_view name, const std::string& user, bool writes) {
  const NamedPtr named = find(name);
  if (!named) {
    NearestName nearest(name);
    offer_names(nearest);
    return fail(ErrorKind::kNotFound, "there is no node '{}'{}", name, nearest.suggestion());
  }
  for (const NamedNode::User& other : named->users) {
    if (other.writes)
      return fail(ErrorKind::kBusy, "node '{}' belongs to '{}', which may write to it, so '{}' cannot use it too", name,
                  other.who, user);
    if (writes)
      return fail(ErrorKind::kBusy, "node '{}' is used by '{}', so '{}' cannot write to it; add read-only=on there",
                  name, other.who, user);
  }
  if (writes && named->node->read_only())
    return fail(ErrorKind::kPermissionDenied,
                "node '{}' is read-only, but '{}' is to write to it; add read-only=on there", name, user);
  return std::make_unique<NodeUse>(named, user, writes);
}

Result<NodePtr> Graph::claim(std::string_view name, const std::string& user) {
  const NamedPtr named = find(name);
  return claim(name, user, named != nullptr && !named->node->read_only());
}

// ---- Opening

Result<> Graph::check(const NodeOptions& options) {
  DOPPEL_TRY(check_options(options));
  if (options.has("node-name")) return {};
  return fail(ErrorKind::kInvalidArgument, "a node needs node-name=, by which a -device or another node names it");
}

/// Whether a parent that may write refers to the node, or only devices may come to use it.
bool Graph::wanted_by_a_writer(const std::string& name, unsigned depth) const {
  bool has_parent = false;
  for (const NodeOptions& parent : declared_)
    for (const auto& [key, value] : parent.texts()) {
      const bool refers = value == name && key != "node-name" && !key.ends_with(".node-name");
      if (!refers) continue;
      has_parent = true;
      const bool reads = key == "backing" || parent.flag("read-only").value_or(false);
      const bool follows = parent.flag("auto-read-only").value_or(false) && depth < kDeepest;
      if (!reads && (!follows || wanted_by_a_writer(parent.text_or("node-name", ""), depth + 1))) return true;
    }
  return !has_parent;
}

Task<Result<>> Graph::open_all(std::vector<NodeOptions> nodes) {
  declared_ = std::move(nodes);
  for (const NodeOptions& options : declared_) {
    const std::string name = options.text_or("node-name", "");
    DOPPEL_CO_TRY(check(options));
    OpenRules rules{.file = {.writable = true}, .unmap = false};
    auto opened = co_await open(options, rules, name);
    if (!opened) co_return std::unexpected(std::move(opened).error().wrap(fmt::format("node '{}'", name)));
    // Nobody uses it yet.
    opened->reset();
  }
  co_return Result<>{};
}

Task<Result<NodePtr>> Graph::open(NodeOptions options, OpenRules rules, std::string user) {
  const std::string name = options.text_or("node-name", "");
  if (!name.empty() && find(name))
    co_return fail(ErrorKind::kAlreadyExists, "there are two nodes '{}'; give one of them another node-name=", name);
  rules = own_rules(options, rules);
  if (rules.file.locking == FileLocking::kOff && rules.file.writable && options.flag("force-share").value_or(false))
    co_return fail(ErrorKind::kInvalidArgument, "force-share=on is for nodes that are only read; add read-only=on");
  const bool may_give_in = options.flag("auto-read-only").value_or(false) && rules.file.writable;
  if (may_give_in && !name.empty() && !wanted_by_a_writer(name, 0)) rules.file.writable = false;
  auto node = co_await open_with_driver(options, rules);
  if (!node && may_give_in && node.error().kind() == ErrorKind::kPermissionDenied) {
    rules.file.writable = false;
    node = co_await open_with_driver(options, rules);
  }
  if (!node) co_return node;
  if (rules.file.writable && (*node)->read_only() && !may_give_in)
    co_return fail(ErrorKind::kPermissionDenied, "what it stands on is read-only; add read-only=on");
  const AccessRules access = access_rules(options, rules, **node);
  if (!access.change_nothing()) node = std::make_unique<AccessNode>(std::move(*node), access);
  if (name.empty()) co_return node;
  const auto named = std::make_shared<NamedNode>(NamedNode{.name = name, .node = std::move(*node)});
  named_.push_back(named);
  co_return std::make_unique<NodeUse>(named, user, !named->node->read_only());
}

Task<Result<NodePtr>> Graph::open_with_driver(const NodeOptions& options, OpenRules rules) {
  DOPPEL_CO_ASSIGN(const Driver* driver, check_options(options));
  co_return co_await driver->open(*this, *driver, options, rules);
}

Task<Result<NodePtr>> Graph::open_child(const NodeOptions& parent, std::string_view name, OpenRules rules) {
  const std::string user = parent.text_or("node-name", parent.text_or("driver", "a node"));
  if (const auto reference = parent.text(name)) co_return claim(*reference, user, rules.file.writable);
  rules.unmap = true;
  NodeOptions options = parent.members(name);
  co_return co_await open(std::move(options), rules, user);
}

// ---- Objects

bool Graph::has_object_type(std::string_view type) {
  return type == "secret" || type == "throttle-group";
}

Result<> Graph::add_object(std::string_view type, const std::string& id, const OptionTexts& options) {
  if (type == "secret") return secrets_.add(id, options);
  if (type != "throttle-group") return fail(ErrorKind::kNotFound, "there is no object type '{}'", type);
  DOPPEL_ASSIGN(const ThrottleLimits limits, parse_throttle_limits(options, fmt::format("throttle group '{}'", id)));
  auto group = std::make_shared<ThrottleGroup>(context_.loop(), context_.loop().realtime_clock(), id, limits);
  if (!groups_.emplace(id, std::move(group)).second)
    return fail(ErrorKind::kAlreadyExists, "the id '{}' is taken by another throttle group", id);
  return {};
}

void Graph::copy_objects(const Graph& other) {
  secrets_ = other.secrets_;
  for (const auto& [id, group] : other.groups_)
    groups_[id] =
        std::make_shared<ThrottleGroup>(context_.loop(), context_.loop().realtime_clock(), id, group->limits());
}

Result<std::shared_ptr<ThrottleGroup>> Graph::throttle_group(std::string_view id) const {
  if (const auto found = groups_.find(id); found != groups_.end()) return found->second;
  NearestName nearest(id);
  for (const auto& [known, group] : groups_) nearest.offer(known);
  return fail(ErrorKind::kNotFound, "there is no throttle group '{}'{}; add '-object throttle-group,id={}'", id,
              nearest.suggestion(), id);
}

Result<std::shared_ptr<ThrottleGroup>> Graph::drive_throttle_group(const std::string& id,
                                                                   const ThrottleLimits& limits) {
  if (const auto found = groups_.find(id); found != groups_.end()) return found->second;
  if (auto group = drive_groups_[id].lock()) return group;
  auto group = std::make_shared<ThrottleGroup>(context_.loop(), context_.loop().realtime_clock(), id, limits);
  drive_groups_[id] = group;
  return group;
}

Result<ThrottleLimits> parse_throttle_limits(const OptionTexts& options, std::string_view who) {
  ThrottleLimits limits;
  for (const auto& [name, text] : options) {
    std::string_view limit = name;
    for (const std::string_view prefix : {"limits.", "x-"})
      if (limit.starts_with(prefix)) limit.remove_prefix(prefix.size());
    const auto value = parse_size(text);
    if (!limits.set(limit, 0)) {
      NearestName nearest(limit);
      for (const std::string_view known : ThrottleLimits::kNames) nearest.offer(known);
      return fail(ErrorKind::kNotFound, "{} has no limit '{}'{}", who, limit, nearest.suggestion());
    }
    if (!value) return fail(ErrorKind::kInvalidArgument, "{}: {} expects a number, not '{}'", who, limit, text);
    (void)limits.set(limit, *value);
  }
  if (auto sound = limits.check(); !sound) return std::unexpected(std::move(sound).error().wrap(std::string(who)));
  return limits;
}

}  // namespace doppel::block
