#include <algorithm>

#include "base/bits.h"
#include "base/text.h"
#include "hw/firmware/option_text.h"
#include "hw/firmware/smbios.h"

namespace doppel::hw {

namespace {

constexpr std::uint64_t kMaxFile = 64 * kKiB;
constexpr std::size_t kHeaderSize = 4;

enum class FieldKind : std::uint8_t { kText, kNumber16, kNumber64, kUuid, kBool, kRelease };

/// A row per field that may be set, in QEMU's spelling.
struct FieldRow {
  unsigned type;
  std::string_view name;
  FieldKind kind = FieldKind::kText;
};

constexpr FieldRow kFields[] = {
    {0, "vendor"},
    {0, "version"},
    {0, "date"},
    {0, "release", FieldKind::kRelease},
    {0, "uefi", FieldKind::kBool},
    {1, "manufacturer"},
    {1, "product"},
    {1, "version"},
    {1, "serial"},
    {1, "uuid", FieldKind::kUuid},
    {1, "sku"},
    {1, "family"},
    {2, "manufacturer"},
    {2, "product"},
    {2, "version"},
    {2, "serial"},
    {2, "asset"},
    {2, "location"},
    {3, "manufacturer"},
    {3, "version"},
    {3, "serial"},
    {3, "asset"},
    {3, "sku"},
    {4, "sock_pfx"},
    {4, "manufacturer"},
    {4, "version"},
    {4, "serial"},
    {4, "asset"},
    {4, "part"},
    {4, "max-speed", FieldKind::kNumber16},
    {4, "current-speed", FieldKind::kNumber16},
    {4, "processor-id", FieldKind::kNumber64},
    {11, "value"},
    {11, "path"},
    {17, "loc_pfx"},
    {17, "bank"},
    {17, "manufacturer"},
    {17, "serial"},
    {17, "asset"},
    {17, "part"},
    {17, "speed", FieldKind::kNumber16},
};

bool is_uuid(std::string_view text) {
  if (text.size() != 36) return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    if (dash ? text[i] != '-' : std::string_view("0123456789abcdefABCDEF").find(text[i]) == std::string_view::npos)
      return false;
  }
  return true;
}

bool is_release(std::string_view text) {
  const auto parts = split(text, '.');
  return parts.size() == 2 &&
         std::ranges::all_of(parts, [](std::string_view part) { return parse_number(part).value_or(256) <= 255; });
}

Result<> check_value(const FieldRow& row, std::string_view value) {
  const auto wrong = [&](std::string_view expected) {
    return fail(ErrorKind::kInvalidArgument, "type={},{}= expects {}, not '{}'", row.type, row.name, expected, value);
  };
  switch (row.kind) {
    case FieldKind::kText: break;
    case FieldKind::kNumber16:
      if (parse_number(value).value_or(0x10000) > 0xffff) return wrong("a number up to 65535");
      break;
    case FieldKind::kNumber64:
      if (!parse_number(value)) return wrong("a number");
      break;
    case FieldKind::kUuid:
      if (!is_uuid(value)) return wrong("a UUID");
      break;
    case FieldKind::kBool:
      if (!parse_bool(value)) return wrong("'on' or 'off'");
      break;
    case FieldKind::kRelease:
      if (!is_release(value)) return wrong("two numbers up to 255, as '1.2'");
      break;
  }
  return {};
}

/// A structure is its formatted area, as long as its second byte says, and strings up to a double zero.
Result<> check_structure(const std::string& path, std::span<const std::byte> bytes) {
  const bool headed = bytes.size() >= kHeaderSize + 2 && std::to_integer<std::size_t>(bytes[1]) >= kHeaderSize;
  if (!headed || std::to_integer<std::size_t>(bytes[1]) + 2 > bytes.size())
    return fail(ErrorKind::kCorrupt, "'{}' is too short for an SMBIOS structure: {} bytes", path, bytes.size());
  if (bytes[bytes.size() - 1] != std::byte{0} || bytes[bytes.size() - 2] != std::byte{0})
    return fail(ErrorKind::kCorrupt, "'{}' is no SMBIOS structure: its strings do not end with two zero bytes", path);
  return {};
}

}  // namespace

Result<> SmbiosOptions::parse(std::string_view option) {
  DOPPEL_ASSIGN(const std::vector<OptionPart> parts, split_option(option));
  if (parts.size() == 1 && parts[0].name == "file") return add_file(parts[0].value);
  const auto type_part = std::ranges::find(parts, "type", &OptionPart::name);
  const auto type =
      type_part == parts.end() ? std::nullopt : std::optional(parse_number(type_part->value).value_or(256));
  if (!type) return fail(ErrorKind::kInvalidArgument, "type=N or file=PATH is missing, such as type=1,serial=42");
  const bool known = std::ranges::any_of(kFields, [&](const FieldRow& row) { return row.type == *type; });
  if (!known) return fail(ErrorKind::kUnsupported, "type={} cannot be set by fields; use file=PATH", type_part->value);
  const auto number = static_cast<unsigned>(*type);
  if (has_file(number)) return fail(ErrorKind::kInvalidArgument, "type={} was already given by file=", number);
  fields_[number];
  for (const OptionPart& part : parts)
    if (part.name != "type") DOPPEL_TRY(add_field(number, part.name, part.value));
  return {};
}

Result<> SmbiosOptions::add_field(unsigned type, const std::string& name, std::string value) {
  NearestName nearest(name);
  const FieldRow* found = nullptr;
  for (const FieldRow& row : kFields) {
    if (row.type != type) continue;
    nearest.offer(row.name);
    if (row.name == name) found = &row;
  }
  if (found == nullptr)
    return fail(ErrorKind::kInvalidArgument, "type={} has no field '{}'{}", type, name, nearest.suggestion());
  DOPPEL_TRY(check_value(*found, value));
  if (name == "path") {
    DOPPEL_ASSIGN(const Blob text, read_blob(value, kMaxFile));
    value.assign(reinterpret_cast<const char*>(text.bytes().data()), text.size());
  }
  if (value.find('\0') != std::string::npos)
    return fail(ErrorKind::kInvalidArgument, "type={},{}= has a zero byte in its text", type, name);
  if (type == 11)
    oem_strings_.push_back(std::move(value));
  else
    fields_[type][name] = std::move(value);
  return {};
}

Result<> SmbiosOptions::add_file(const std::string& path) {
  DOPPEL_ASSIGN(const Blob contents, read_blob(path, kMaxFile));
  const auto bytes = contents.bytes();
  DOPPEL_TRY(check_structure(path, bytes));
  const auto type = std::to_integer<unsigned>(bytes[0]);
  if (type == 127) return fail(ErrorKind::kInvalidArgument, "'{}' is the end-of-table structure, which is ours", path);
  if (fields_.contains(type))
    return fail(ErrorKind::kInvalidArgument, "'{}' has type {}, whose fields were already given", path, type);
  files_.emplace_back(bytes.begin(), bytes.end());
  return {};
}

std::string SmbiosOptions::get(unsigned type, std::string_view field, std::string_view preset) const {
  const auto fields = fields_.find(type);
  if (fields == fields_.end()) return std::string(preset);
  const auto value = fields->second.find(field);
  return value == fields->second.end() ? std::string(preset) : value->second;
}

bool SmbiosOptions::has_file(unsigned type) const {
  return std::ranges::any_of(files_, [&](const Bytes& file) { return std::to_integer<unsigned>(file[0]) == type; });
}

}  // namespace doppel::hw
