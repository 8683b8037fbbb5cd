#include "block/vmdk/descriptor.h"

#include <algorithm>
#include <charconv>

#include "base/text.h"

namespace doppel::block::vmdk {
namespace {

constexpr std::size_t kMaxExtents = 1024;
constexpr std::uint64_t kMaxSectors = std::uint64_t{1} << 53;

std::unexpected<Error> bad(std::string message) {
  return std::unexpected(Error(ErrorKind::kCorrupt, std::move(message)));
}

std::string_view trimmed(std::string_view text) {
  const auto is_blank = [](char c) { return c == ' ' || c == '\t' || c == '\r'; };
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

std::string_view unquoted(std::string_view text) {
  return text.size() >= 2 && text.front() == '"' && text.back() == '"' ? text.substr(1, text.size() - 2) : text;
}

/// The next word of REST, or what stands in quotes.
std::string_view next_word(std::string_view& rest) {
  rest = trimmed(rest);
  const bool quoted = !rest.empty() && rest.front() == '"';
  const std::size_t begin = quoted ? 1 : 0;
  const std::size_t end = std::min(rest.find_first_of(quoted ? "\"" : " \t", begin), rest.size());
  const std::string_view word = rest.substr(begin, end - begin);
  rest.remove_prefix(std::min(end + (quoted ? 1 : 0), rest.size()));
  return word;
}

Result<ExtentKind> extent_kind(std::string_view type) {
  if (type == "FLAT" || type == "VMFS") return ExtentKind::kFlat;
  if (type == "SPARSE") return ExtentKind::kSparse;
  if (type == "ZERO") return ExtentKind::kZero;
  return fail(ErrorKind::kUnsupported, "extents of type {} are not supported, only FLAT, VMFS, SPARSE and ZERO", type);
}

/// ACCESS SECTORS TYPE ["FILE" [OFFSET]]; the access word is known already.
Result<ExtentLine> parse_extent(Access access, std::string_view rest) {
  ExtentLine extent{.access = access};
  const auto sectors = parse_number(next_word(rest));
  if (!sectors || *sectors == 0 || *sectors > kMaxSectors) return bad("an extent's size makes no sense");
  extent.sectors = *sectors;
  extent.type = next_word(rest);
  DOPPEL_ASSIGN(extent.kind, extent_kind(extent.type));
  if (extent.kind == ExtentKind::kZero) return extent;
  extent.filename = next_word(rest);
  if (extent.filename.empty()) return bad("an extent does not name its file");
  const std::string_view offset = next_word(rest);
  if (offset.empty()) {
    if (extent.kind == ExtentKind::kFlat && extent.type == "FLAT")
      return bad("a flat extent does not say where in its file it begins");
    return extent;
  }
  const auto number = parse_number(offset);
  if (!number || *number > kMaxSectors) return bad("an extent's offset makes no sense");
  if (extent.kind == ExtentKind::kFlat) extent.offset = *number;
  return extent;
}

Result<std::uint32_t> parse_cid(std::string_view text) {
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  if (error != std::errc{} || end != text.data() + text.size()) return bad("a content id is no number");
  return value;
}

Result<> take_setting(Descriptor& descriptor, std::string_view name, std::string_view value) {
  if (name == "CID") {
    DOPPEL_ASSIGN(descriptor.cid, parse_cid(value));
  } else if (name == "parentCID") {
    DOPPEL_ASSIGN(descriptor.parent_cid, parse_cid(value));
  } else if (name == "createType") {
    descriptor.create_type = unquoted(value);
  } else if (name == "parentFileNameHint") {
    descriptor.parent = unquoted(value);
  }
  return {};
}

}  // namespace

Result<Descriptor> parse_descriptor(std::string_view text) {
  const std::string_view whole = text.substr(0, text.find('\0'));
  Descriptor descriptor;
  for (const std::string_view raw : split(whole, '\n')) {
    std::string_view line = trimmed(raw);
    if (line.empty() || line.front() == '#') continue;
    std::string_view rest = line;
    const std::string_view first = next_word(rest);
    if (first == "RW" || first == "RDONLY") {
      if (descriptor.extents.size() >= kMaxExtents)
        return bad(fmt::format("more than {} extents are not supported", kMaxExtents));
      DOPPEL_ASSIGN(ExtentLine extent, parse_extent(first == "RW" ? Access::kReadWrite : Access::kReadOnly, rest));
      descriptor.extents.push_back(std::move(extent));
      continue;
    }
    if (first == "NOACCESS") return fail(ErrorKind::kUnsupported, "an extent is marked as inaccessible");
    const std::size_t equals = line.find('=');
    if (equals == std::string_view::npos) continue;
    const std::string_view value = trimmed(line.substr(equals + 1));
    const std::string_view name = trimmed(line.substr(0, equals));
    DOPPEL_TRY(take_setting(descriptor, name, value));
    if (name == "CID" && value.size() == 8) descriptor.cid_place = static_cast<std::size_t>(value.data() - text.data());
  }
  return descriptor;
}

std::string format_cid(std::uint32_t cid) {
  return fmt::format("{:08x}", cid);
}

}  // namespace doppel::block::vmdk
