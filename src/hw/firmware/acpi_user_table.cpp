// `-acpitable`: tables a user brings along.
#include <algorithm>
#include <cstring>

#include "base/bits.h"
#include "base/text.h"
#include "hw/firmware/acpi.h"
#include "hw/firmware/acpi_table.h"
#include "hw/firmware/option_text.h"

namespace doppel::hw {

namespace {

constexpr std::uint64_t kMaxTableFile = 16 * kMiB;

/// A field of the header: where it is, how wide, whether it is a number, and what it is if nobody says.
struct HeaderField {
  std::string_view name;
  std::size_t offset;
  std::size_t size;
  bool number;
  std::string_view preset;
};

constexpr HeaderField kFields[] = {
    {"sig", 0, 4, false, "DPPL"},           {"rev", 8, 1, true, "1"},
    {"oem_id", 10, 6, false, "DOPPEL"},     {"oem_table_id", 16, 8, false, "DOPPELUT"},
    {"oem_rev", 24, 4, true, "1"},          {"asl_compiler_id", 28, 4, false, "DPPL"},
    {"asl_compiler_rev", 32, 4, true, "1"},
};

Result<> set_field(Bytes& table, const HeaderField& field, std::string_view value) {
  std::byte* const at = table.data() + field.offset;
  if (field.number) {
    const auto number = parse_number(value);
    if (!number || *number > low_mask(static_cast<unsigned>(8 * field.size)))
      return fail(ErrorKind::kInvalidArgument, "{}= expects a number of {} byte(s), not '{}'", field.name, field.size,
                  value);
    store_le_sized(at, field.size, *number);
    return {};
  }
  if (value.size() > field.size)
    return fail(ErrorKind::kInvalidArgument, "{}= takes at most {} characters, not '{}'", field.name, field.size,
                value);
  std::fill_n(at, field.size, std::byte{0});
  std::memcpy(at, value.data(), value.size());
  return {};
}

Result<> append_files(Bytes& table, std::string_view paths) {
  for (const std::string_view path : split(paths, ':')) {
    DOPPEL_ASSIGN(const Blob contents, read_blob(std::string(path), kMaxTableFile));
    table.insert(table.end(), contents.bytes().begin(), contents.bytes().end());
  }
  return {};
}

Result<std::vector<OptionPart>> known_parts(std::string_view text) {
  DOPPEL_ASSIGN(std::vector<OptionPart> parts, split_option(text));
  for (const OptionPart& part : parts) {
    NearestName nearest(part.name);
    bool known = part.name == "data" || part.name == "file";
    for (const HeaderField& field : kFields) {
      known = known || field.name == part.name;
      nearest.offer(field.name);
    }
    if (!known)
      return fail(ErrorKind::kInvalidArgument, "there is no key '{}'{}", part.name.empty() ? part.value : part.name,
                  nearest.suggestion());
  }
  return parts;
}

}  // namespace

Result<Bytes> parse_acpi_table_option(std::string_view option) {
  DOPPEL_ASSIGN(const std::vector<OptionPart> options, known_parts(option));
  const OptionPart* source = nullptr;
  for (const OptionPart& part : options) {
    if (part.name != "data" && part.name != "file") continue;
    if (source != nullptr) return fail(ErrorKind::kInvalidArgument, "write one data= or file=, not several");
    source = &part;
  }
  Bytes table;
  if (source != nullptr && source->name == "file") {
    DOPPEL_TRY(append_files(table, source->value));
    if (table.size() < kAcpiHeaderSize)
      return fail(ErrorKind::kInvalidArgument, "'{}' is too short for an ACPI table: {} bytes, the header has {}",
                  source->value, table.size(), kAcpiHeaderSize);
  } else {
    table.resize(kAcpiHeaderSize);
    for (const HeaderField& field : kFields) DOPPEL_TRY(set_field(table, field, field.preset));
    if (source != nullptr) DOPPEL_TRY(append_files(table, source->value));
  }
  for (const OptionPart& part : options)
    for (const HeaderField& field : kFields)
      if (field.name == part.name) DOPPEL_TRY(set_field(table, field, part.value));
  store_le(table.data() + kAcpiLengthOffset, static_cast<std::uint32_t>(table.size()));
  table[kAcpiChecksumOffset] = std::byte{0};
  table[kAcpiChecksumOffset] = static_cast<std::byte>(checksum_of(table));
  return table;
}

}  // namespace doppel::hw
