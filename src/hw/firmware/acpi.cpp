#include "hw/firmware/acpi.h"

#include <algorithm>
#include <memory>
#include <mutex>

#include "base/text.h"
#include "hw/firmware/acpi_table.h"

namespace doppel::hw {

namespace {

constexpr std::size_t kRsdp1Size = 20;
constexpr std::size_t kRsdp2Size = 36;
constexpr std::uint32_t kRsdpRsdtOffset = 16;
constexpr std::uint32_t kRsdpXsdtOffset = 24;

std::string_view signature(const Bytes& table) {
  return {reinterpret_cast<const char*>(table.data()), 4};
}

/// Windows compares the SLIC's names with those of RSDT and FADT: where the user gives one, they follow it.
AcpiOem public_oem(const AcpiConfig& config) {
  for (const Bytes& table : config.user_tables) {
    if (table.size() < kAcpiHeaderSize || signature(table) != "SLIC") continue;
    const auto* text = reinterpret_cast<const char*>(table.data());
    return {std::string(text + 10, 6), std::string(text + 16, 8)};
  }
  return {config.oem_id, config.oem_table_id};
}

Result<> check(const AcpiConfig& config) {
  if (config.oem_id.size() > 6)
    return fail(ErrorKind::kInvalidArgument, "ACPI OEM id '{}' is longer than 6 characters", config.oem_id);
  if (config.oem_table_id.size() > 8)
    return fail(ErrorKind::kInvalidArgument, "ACPI OEM table id '{}' is longer than 8 characters", config.oem_table_id);
  if (config.cpus.empty()) return fail(ErrorKind::kInvalidArgument, "ACPI needs at least one CPU");
  for (const Bytes& table : config.user_tables)
    if (table.size() < kAcpiHeaderSize) return fail(ErrorKind::kInvalidArgument, "an ACPI table has no header");
  return {};
}

Bytes build_rsdp(const AcpiConfig& config, const AcpiOem& oem, std::uint32_t rsdt, std::uint32_t xsdt,
                 TableLoader& loader) {
  const bool extended = config.rsdp_revision >= 2;
  ByteWriter writer;
  writer.text("RSD PTR ", 8).u8(0).text(oem.id, 6, ' ').u8(extended ? 2 : 0).u32(rsdt);
  if (extended) writer.u32(kRsdp2Size).u64(xsdt).u8(0).zeros(3);
  loader.allocate(kAcpiRsdpFile, 16, TableZone::kFSegment);
  loader.add_pointer(kAcpiRsdpFile, kRsdpRsdtOffset, 4, kAcpiTablesFile);
  if (extended) loader.add_pointer(kAcpiRsdpFile, kRsdpXsdtOffset, 8, kAcpiTablesFile);
  loader.add_checksum(kAcpiRsdpFile, 8, 0, kRsdp1Size);
  if (extended) loader.add_checksum(kAcpiRsdpFile, 32, 0, kRsdp2Size);
  return writer.take();
}

std::vector<AcpiPointer> root_pointers(const std::vector<std::uint32_t>& targets, std::uint8_t size) {
  std::vector<AcpiPointer> pointers;
  for (std::size_t i = 0; i < targets.size(); ++i)
    pointers.push_back({static_cast<std::uint32_t>(kAcpiHeaderSize + i * size), size, targets[i]});
  return pointers;
}

/// The tables as last built, shared by the hooks of the three files.
struct Published {
  std::mutex mutex;
  std::function<AcpiConfig()> provide;
  AcpiTables built;
  std::size_t tables_size = 0;
};

/// Room for tables that grow a little when they are built again with other PCI windows.
std::size_t padded(std::size_t size) {
  return align_up(size + 1024, std::size_t{4096});
}

}  // namespace

std::uint32_t AcpiTableFile::add(Bytes table, const std::vector<AcpiPointer>& pointers) {
  const auto length = static_cast<std::uint32_t>(table.size());
  for (const AcpiPointer& pointer : pointers)
    store_le_sized(table.data() + pointer.offset, pointer.size, pointer.target);
  table[kAcpiChecksumOffset] = std::byte{0};
  const std::uint32_t start = add_raw(std::move(table));
  for (const AcpiPointer& pointer : pointers)
    loader_.add_pointer(kAcpiTablesFile, start + pointer.offset, pointer.size, kAcpiTablesFile);
  loader_.add_checksum(kAcpiTablesFile, start + static_cast<std::uint32_t>(kAcpiChecksumOffset), start, length);
  return start;
}

std::uint32_t AcpiTableFile::add_raw(Bytes table) {
  bytes_.resize(align_up(bytes_.size(), std::size_t{8}));
  const auto start = static_cast<std::uint32_t>(bytes_.size());
  bytes_.insert(bytes_.end(), table.begin(), table.end());
  return start;
}

Result<AcpiTables> build_acpi(const AcpiConfig& config) {
  DOPPEL_TRY(check(config));
  const AcpiOem own{config.oem_id, config.oem_table_id};
  const AcpiOem shown = public_oem(config);
  AcpiTables result;
  result.loader.allocate(kAcpiTablesFile, 64, TableZone::kHigh);  // the FACS must lie on 64 bytes
  AcpiTableFile file(result.loader);

  const bool reduced = config.board == AcpiBoard::kMicrovm;
  const std::uint32_t facs = reduced ? 0 : file.add_raw(build_facs());
  const std::uint32_t dsdt = file.add(build_dsdt(config, own));
  std::vector<AcpiPointer> links{{kFadtDsdtOffset, 4, dsdt}, {kFadtXDsdtOffset, 8, dsdt}};
  if (!reduced) links.push_back({kFadtFacsOffset, 4, facs});
  std::vector<std::uint32_t> tables{file.add(build_fadt(config, shown), links), file.add(build_madt(config, own))};
  if (config.hpet) tables.push_back(file.add(build_hpet(own)));
  if (!config.nodes.empty()) {
    tables.push_back(file.add(build_srat(config, own)));
    if (std::ranges::any_of(config.nodes, [](const AcpiNumaNode& node) { return !node.distances.empty(); }))
      tables.push_back(file.add(build_slit(config, own)));
  }
  if (!reduced) tables.push_back(file.add(build_waet(own)));
  for (const Bytes& table : config.user_tables) tables.push_back(file.add(table));

  const std::uint32_t rsdt = file.add(build_rsdt(tables.size(), shown), root_pointers(tables, 4));
  std::uint32_t xsdt = 0;
  if (config.rsdp_revision >= 2) xsdt = file.add(build_xsdt(tables.size(), shown), root_pointers(tables, 8));
  result.rsdp = build_rsdp(config, shown, rsdt, xsdt, result.loader);
  result.tables = file.take();
  return result;
}

Result<> add_acpi(FwCfg& fw_cfg, std::function<AcpiConfig()> provide) {
  const auto shared = std::make_shared<Published>();
  shared->provide = std::move(provide);
  DOPPEL_ASSIGN(shared->built, build_acpi(shared->provide()));
  shared->tables_size = padded(shared->built.tables.size());
  Bytes tables = shared->built.tables;
  tables.resize(shared->tables_size);

  DOPPEL_TRY(fw_cfg.add_file(kTableLoaderFile, shared->built.loader.encode(),
                             {.on_select =
                                  [shared] {
                                    auto built = build_acpi(shared->provide());
                                    const std::scoped_lock lock(shared->mutex);
                                    // A set of tables that no longer fits the sizes the firmware already read keeps its
                                    // old shape.
                                    if (built && built->tables.size() <= shared->tables_size &&
                                        built->loader.commands().size() == shared->built.loader.commands().size())
                                      shared->built = std::move(*built);
                                    return shared->built.loader.encode();
                                  },
                              .on_write = {}}));
  DOPPEL_TRY(fw_cfg.add_file(kAcpiTablesFile, std::move(tables),
                             {.on_select =
                                  [shared] {
                                    const std::scoped_lock lock(shared->mutex);
                                    return shared->built.tables;
                                  },
                              .on_write = {}}));
  return fw_cfg.add_file(kAcpiRsdpFile, shared->built.rsdp,
                         {.on_select =
                              [shared] {
                                const std::scoped_lock lock(shared->mutex);
                                return shared->built.rsdp;
                              },
                          .on_write = {}});
}

Result<std::uint64_t> place_acpi(const AcpiConfig& config, const memory::DmaSpace& memory, AddressWindow tables,
                                 std::uint64_t rsdp_base) {
  DOPPEL_ASSIGN(AcpiTables built, build_acpi(config));
  TableFiles files;
  files.emplace(kAcpiTablesFile, std::move(built.tables));
  files.emplace(kAcpiRsdpFile, std::move(built.rsdp));
  const auto place = [&](std::string_view file, std::uint64_t size,
                         const TableCommand& command) -> Result<std::uint64_t> {
    if (file == kAcpiRsdpFile) return rsdp_base;
    const std::uint64_t address = align_up(tables.begin, std::uint64_t{command.length});
    if (address + size > tables.end)
      return fail(ErrorKind::kNoSpace, "the ACPI tables have {}, and there is room for {}", format_size(size),
                  format_size(tables.end - address));
    return address;
  };
  DOPPEL_ASSIGN(const auto addresses, built.loader.link(files, place));
  for (const auto& [name, address] : addresses)
    if (auto written = memory.write({address}, std::as_bytes(std::span(files.find(name)->second))); !written)
      return std::unexpected(std::move(written).error().wrap("cannot put the ACPI tables into guest memory"));
  return addresses.find(kAcpiRsdpFile)->second;
}

}  // namespace doppel::hw
