#include "hw/firmware/smbios.h"

#include <algorithm>

#include "base/bits.h"
#include "base/text.h"

namespace doppel::hw {

namespace {

constexpr std::string_view kStructuresFile = "etc/smbios/smbios-tables";
constexpr std::string_view kAnchorFile = "etc/smbios/smbios-anchor";

/// Handles, one range a type.
constexpr std::uint16_t kChassisHandle = 0x300;
constexpr std::uint16_t kMemoryArrayHandle = 0x1000;
constexpr std::uint16_t handle_of(unsigned type, std::size_t index = 0) {
  return static_cast<std::uint16_t>((type == 127 ? 0x7f00U : type == 32 ? 0x2000U : type << 8) + index);
}

constexpr std::uint16_t kNoErrorInformation = 0xfffe;
constexpr std::uint16_t kNoCache = 0xffff;
constexpr std::uint16_t kUnknownWidth = 0xffff;
constexpr std::size_t kAnchor32Size = 31;
constexpr std::size_t kAnchor64Size = 24;
constexpr std::uint64_t kUsualDimm = 16 * kGiB;
constexpr std::uint64_t kMaxDimms = 256;

/// One structure: the formatted area first, then the strings it refers to by number.
class Structure {
 public:
  Structure(unsigned type, std::uint16_t handle) { area_.u8(type).u8(0).u16(handle); }

  [[nodiscard]] ByteWriter& area() { return area_; }
  /// Puts the number of TEXT in the formatted area; an empty text is number 0, "not specified".
  ByteWriter& string(std::string_view text) {
    if (text.empty()) return area_.u8(0);
    strings_.emplace_back(text);
    return area_.u8(strings_.size());
  }
  /// Adds a string that is only counted, never referred to; an empty one would end the list, so it becomes a space.
  void append_string(std::string_view text) { strings_.emplace_back(text.empty() ? " " : text); }
  [[nodiscard]] Bytes finish() {
    area_.patch(1, static_cast<std::uint8_t>(area_.size()));
    for (const std::string& text : strings_) area_.text(text, text.size()).u8(0);
    if (strings_.empty()) area_.u8(0);
    return area_.u8(0).take();
  }

 private:
  ByteWriter area_;
  std::vector<std::string> strings_;
};

std::array<std::byte, 16> parse_uuid(std::string_view text) {
  std::array<std::byte, 16> uuid{};
  std::size_t digits = 0;
  for (const char c : text) {
    if (c == '-' || digits == 32) continue;
    const int value = c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
    uuid[digits / 2] = static_cast<std::byte>((std::to_integer<int>(uuid[digits / 2]) << 4) | value);
    ++digits;
  }
  return uuid;
}

/// The first three fields of a UUID are little-endian here (DSP0134 7.2.1).
void put_uuid(ByteWriter& writer, const std::array<std::byte, 16>& uuid) {
  for (const std::size_t index : {3U, 2U, 1U, 0U, 5U, 4U, 7U, 6U, 8U, 9U, 10U, 11U, 12U, 13U, 14U, 15U})
    writer.u8(std::to_integer<unsigned>(uuid[index]));
}

Bytes bios_information(const SmbiosOptions& options) {
  constexpr std::uint64_t kCharacteristicsNotSupported = 8;
  constexpr unsigned kTargetedContent = 0x04;
  constexpr unsigned kUefi = 0x08;
  constexpr unsigned kVirtualMachine = 0x10;
  const bool uefi = parse_bool(options.get(0, "uefi", "off")).value_or(false);
  const std::string release = options.get(0, "release", "0.0");
  const auto parts = split(release, '.');
  Structure structure(0, handle_of(0));
  structure.string(options.get(0, "vendor"));
  structure.string(options.get(0, "version")).u16(0xe800);
  structure.string(options.get(0, "date")).u8(0).u64(kCharacteristicsNotSupported).u8(0);
  structure.area().u8(kTargetedContent | kVirtualMachine | (uefi ? kUefi : 0U));
  for (const std::string_view part : parts) structure.area().u8(parse_number(part).value_or(0));
  structure.area().u8(0xff).u8(0xff);  // no embedded controller
  return structure.finish();
}

Bytes system_information(const SmbiosConfig& config) {
  constexpr unsigned kPowerSwitch = 6;
  const SmbiosOptions& options = config.options;
  const std::string uuid = options.get(1, "uuid");
  Structure structure(1, handle_of(1));
  structure.string(options.get(1, "manufacturer", config.manufacturer));
  structure.string(options.get(1, "product", config.product));
  structure.string(options.get(1, "version", config.version));
  structure.string(options.get(1, "serial"));
  put_uuid(structure.area(), uuid.empty() ? config.uuid : parse_uuid(uuid));
  structure.area().u8(kPowerSwitch);
  structure.string(options.get(1, "sku"));
  structure.string(options.get(1, "family"));
  return structure.finish();
}

Bytes base_board(const SmbiosConfig& config) {
  constexpr unsigned kHostingBoard = 1;
  constexpr unsigned kMotherboard = 10;
  const SmbiosOptions& options = config.options;
  Structure structure(2, handle_of(2));
  structure.string(options.get(2, "manufacturer", config.manufacturer));
  structure.string(options.get(2, "product", config.product));
  structure.string(options.get(2, "version", config.version));
  structure.string(options.get(2, "serial"));
  structure.string(options.get(2, "asset")).u8(kHostingBoard);
  structure.string(options.get(2, "location")).u16(kChassisHandle).u8(kMotherboard).u8(0);
  return structure.finish();
}

Bytes chassis(const SmbiosConfig& config) {
  constexpr unsigned kOther = 1;
  constexpr unsigned kSafe = 3;
  constexpr unsigned kUnknown = 2;
  const SmbiosOptions& options = config.options;
  Structure structure(3, kChassisHandle);
  structure.string(options.get(3, "manufacturer", config.manufacturer)).u8(kOther);
  structure.string(options.get(3, "version", config.version));
  structure.string(options.get(3, "serial"));
  structure.string(options.get(3, "asset")).u8(kSafe).u8(kSafe).u8(kSafe).u8(kUnknown).u32(0).zeros(4);
  structure.string(options.get(3, "sku"));
  return structure.finish();
}

Bytes processor(const SmbiosConfig& config, unsigned socket) {
  constexpr unsigned kCentralProcessor = 3;
  constexpr unsigned kOther = 1;
  constexpr unsigned kPopulatedEnabled = 0x41;
  constexpr unsigned kUnknownCharacteristics = 2;
  const SmbiosOptions& options = config.options;
  const std::uint64_t id = config.cpuid_1_eax | (std::uint64_t{config.cpuid_1_edx} << 32);
  const unsigned cores = config.cores_per_socket;
  const unsigned threads = cores * config.threads_per_core;
  const auto in_a_byte = [](unsigned count) { return count > 254 ? 255U : count; };
  const auto speed = [&](std::string_view field) { return parse_number(options.get(4, field, "2000")).value_or(0); };

  Structure structure(4, handle_of(4, socket));
  structure.string(fmt::format("{} {}", options.get(4, "sock_pfx", "CPU"), socket)).u8(kCentralProcessor).u8(kOther);
  structure.string(options.get(4, "manufacturer", config.manufacturer));
  structure.area().u64(parse_number(options.get(4, "processor-id", fmt::format("{}", id))).value_or(id));
  structure.string(options.get(4, "version", config.version)).u8(0).u16(0);
  structure.area().u16(speed("max-speed")).u16(speed("current-speed")).u8(kPopulatedEnabled).u8(kOther);
  structure.area().u16(kNoCache).u16(kNoCache).u16(kNoCache);
  structure.string(options.get(4, "serial"));
  structure.string(options.get(4, "asset"));
  structure.string(options.get(4, "part"));
  structure.area().u8(in_a_byte(cores)).u8(in_a_byte(cores)).u8(in_a_byte(threads)).u16(kUnknownCharacteristics);
  structure.area().u16(kOther);
  if (config.entry_point == SmbiosEntryPoint::k64) structure.area().u16(cores).u16(cores).u16(threads);
  return structure.finish();
}

Bytes oem_strings(const std::vector<std::string>& texts) {
  const std::size_t count = std::min<std::size_t>(texts.size(), 255);
  Structure structure(11, handle_of(11));
  structure.area().u8(count);
  for (std::size_t i = 0; i < count; ++i) structure.append_string(texts[i]);
  return structure.finish();
}

/// RAM is shown as modules of 16 GiB, larger ones where that would be too many.
std::uint64_t dimm_size(std::uint64_t ram_size) {
  std::uint64_t size = kUsualDimm;
  while (ram_size / size >= kMaxDimms) size *= 2;
  return size;
}

Bytes memory_array(const SmbiosConfig& config, std::uint64_t dimms) {
  constexpr unsigned kOther = 1;
  constexpr unsigned kSystemMemory = 3;
  constexpr unsigned kMultiBitEcc = 6;
  constexpr std::uint32_t kSeeExtended = 0x80000000;
  const std::uint64_t kib = config.ram_size / kKiB;
  const bool extended = kib >= kSeeExtended;
  Structure structure(16, kMemoryArrayHandle);
  structure.area().u8(kOther).u8(kSystemMemory).u8(kMultiBitEcc).u32(extended ? kSeeExtended : kib);
  structure.area().u16(kNoErrorInformation).u16(dimms).u64(extended ? config.ram_size : 0);
  return structure.finish();
}

Bytes memory_device(const SmbiosConfig& config, std::size_t index, std::uint64_t size) {
  constexpr unsigned kDimm = 9;
  constexpr unsigned kRam = 7;
  constexpr unsigned kOtherDetail = 2;
  constexpr std::uint16_t kSeeExtended = 0x7fff;
  const SmbiosOptions& options = config.options;
  const std::uint64_t mib = size / kMiB;
  const std::uint64_t speed = parse_number(options.get(17, "speed", "0")).value_or(0);
  Structure structure(17, handle_of(17, index));
  structure.area().u16(kMemoryArrayHandle).u16(kNoErrorInformation).u16(kUnknownWidth).u16(kUnknownWidth);
  structure.area().u16(std::min<std::uint64_t>(mib, kSeeExtended)).u8(kDimm).u8(0);
  structure.string(fmt::format("{} {}", options.get(17, "loc_pfx", "DIMM"), index));
  structure.string(options.get(17, "bank")).u8(kRam).u16(kOtherDetail).u16(speed);
  structure.string(options.get(17, "manufacturer", config.manufacturer));
  structure.string(options.get(17, "serial"));
  structure.string(options.get(17, "asset"));
  structure.string(options.get(17, "part")).u8(0).u32(mib >= kSeeExtended ? mib : 0).u16(speed).u16(0).u16(0).u16(0);
  return structure.finish();
}

Bytes mapped_range(const AddressWindow& range, std::size_t index) {
  const std::uint64_t first = range.begin / kKiB;
  const std::uint64_t last = range.end / kKiB - 1;
  const bool extended = last >= 0xffffffff;
  Structure structure(19, handle_of(19, index));
  structure.area().u32(extended ? 0xffffffff : first).u32(extended ? 0xffffffff : last).u16(kMemoryArrayHandle).u8(1);
  structure.area().u64(extended ? range.begin : 0).u64(extended ? range.end - 1 : 0);
  return structure.finish();
}

/// Collects structures, leaving out types the user brings as files.
class Collector {
 public:
  explicit Collector(const SmbiosOptions& options) : options_(options) {
    for (const Bytes& file : options.files()) append(file);
  }
  template <class Build>
  void add(unsigned type, Build build) {
    if (!options_.has_file(type)) append(build());
  }
  void append(const Bytes& structure) {
    bytes_.insert(bytes_.end(), structure.begin(), structure.end());
    largest_ = std::max(largest_, structure.size());
    ++count_;
  }
  Bytes bytes_;
  std::size_t largest_ = 0;
  std::size_t count_ = 0;

 private:
  const SmbiosOptions& options_;
};

void collect(Collector& to, const SmbiosConfig& config) {
  const SmbiosOptions& options = config.options;
  if (options.has_type(0)) to.add(0, [&] { return bios_information(options); });
  to.add(1, [&] { return system_information(config); });
  if (options.has_type(2)) to.add(2, [&] { return base_board(config); });
  to.add(3, [&] { return chassis(config); });
  for (unsigned socket = 0; socket < std::min(config.sockets, 256U); ++socket)
    to.add(4, [&] { return processor(config, socket); });
  if (!options.oem_strings().empty()) to.add(11, [&] { return oem_strings(options.oem_strings()); });
  const std::uint64_t module = dimm_size(config.ram_size);
  const std::uint64_t dimms = (config.ram_size + module - 1) / module;
  to.add(16, [&] { return memory_array(config, dimms); });
  for (std::uint64_t i = 0; i < dimms; ++i)
    to.add(17, [&] { return memory_device(config, i, std::min(module, config.ram_size - i * module)); });
  for (std::size_t i = 0; i < config.ram.size(); ++i)
    if (!config.ram[i].empty()) to.add(19, [&] { return mapped_range(config.ram[i], i); });
  to.add(32, [&] {
    Structure structure(32, handle_of(32));
    structure.area().zeros(7);
    return structure.finish();
  });
  to.append(Structure(127, handle_of(127)).finish());
}

Bytes anchor_32(const Collector& structures, std::uint32_t address) {
  ByteWriter writer;
  writer.text("_SM_", 4).u8(0).u8(kAnchor32Size).u8(2).u8(8).u16(structures.largest_).u8(0).zeros(5);
  writer.text("_DMI_", 5).u8(0).u16(structures.bytes_.size()).u32(address).u16(structures.count_).u8(0x28);
  constexpr std::size_t kIntermediate = 16;
  writer.patch(kIntermediate + 5, checksum_of(std::span(writer.view()).subspan(kIntermediate)));
  writer.patch(4, checksum_of(writer.view()));
  return writer.take();
}

Bytes anchor_64(const Collector& structures, std::uint64_t address) {
  ByteWriter writer;
  writer.text("_SM3_", 5).u8(0).u8(kAnchor64Size).u8(3).u8(0).u8(0).u8(1).u8(0).u32(structures.bytes_.size());
  writer.u64(address);
  writer.patch(5, checksum_of(writer.view()));
  return writer.take();
}

Result<SmbiosTables> build_at(const SmbiosConfig& config, std::uint64_t address) {
  Collector structures(config.options);
  collect(structures, config);
  const bool short_form = config.entry_point == SmbiosEntryPoint::k32;
  if (short_form && (structures.bytes_.size() > 0xffff || structures.count_ > 0xffff))
    return fail(ErrorKind::kOutOfRange, "the SMBIOS tables have {} bytes; a 32-bit entry point allows 65535",
                structures.bytes_.size());
  Bytes anchor =
      short_form ? anchor_32(structures, static_cast<std::uint32_t>(address)) : anchor_64(structures, address);
  return SmbiosTables{std::move(structures.bytes_), std::move(anchor)};
}

}  // namespace

Result<SmbiosTables> build_smbios(const SmbiosConfig& config) {
  return build_at(config, 0);
}

Result<> add_smbios(FwCfg& fw_cfg, const SmbiosConfig& config) {
  DOPPEL_ASSIGN(SmbiosTables tables, build_smbios(config));
  DOPPEL_TRY(fw_cfg.add_file(kStructuresFile, std::move(tables.structures)));
  return fw_cfg.add_file(kAnchorFile, std::move(tables.anchor));
}

Result<> place_smbios(const SmbiosConfig& config, const memory::DmaSpace& memory, std::uint64_t anchor_base) {
  const std::uint64_t structures_base = anchor_base + align_up(kAnchor32Size, std::size_t{16});
  DOPPEL_ASSIGN(const SmbiosTables tables, build_at(config, structures_base));
  if (structures_base + tables.structures.size() > kMiB)
    return fail(ErrorKind::kNoSpace, "the SMBIOS tables of {} do not fit below 1 MiB",
                format_size(tables.structures.size()));
  DOPPEL_TRY(memory.write({anchor_base}, std::span(tables.anchor)));
  return memory.write({structures_base}, std::span(tables.structures));
}

}  // namespace doppel::hw
