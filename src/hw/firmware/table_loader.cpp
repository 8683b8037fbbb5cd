#include "hw/firmware/table_loader.h"

#include "hw/firmware/fw_cfg_registers.h"

namespace doppel::hw {

namespace {

using Addresses = std::map<std::string, std::uint64_t, std::less<>>;

Result<std::span<std::byte>> part_of(TableFiles& files, const std::string& name, std::uint64_t offset,
                                     std::uint64_t length) {
  const auto file = files.find(name);
  if (file == files.end()) return fail(ErrorKind::kNotFound, "table loader: there is no file '{}'", name);
  if (offset > file->second.size() || file->second.size() - offset < length)
    return fail(ErrorKind::kOutOfRange, "table loader: {} bytes at {:#x} are outside of '{}'", length, offset, name);
  return std::span(file->second).subspan(offset, length);
}

Result<> link_pointer(TableFiles& files, const Addresses& addresses, const TableCommand& command) {
  const auto source = addresses.find(command.source);
  if (source == addresses.end())
    return fail(ErrorKind::kNotFound, "table loader: '{}' was not allocated", command.source);
  DOPPEL_ASSIGN(const auto field, part_of(files, command.file, command.offset, command.size));
  store_le_sized(field.data(), command.size, load_le_sized(field.data(), command.size) + source->second);
  return {};
}

Result<> link_checksum(TableFiles& files, const TableCommand& command) {
  DOPPEL_ASSIGN(const auto sum, part_of(files, command.file, command.offset, 1));
  DOPPEL_ASSIGN(const auto summed, part_of(files, command.file, command.start, command.length));
  sum[0] = std::byte{0};
  sum[0] = static_cast<std::byte>(checksum_of(summed));
  return {};
}

Result<> link_written_pointer(TableFiles& files, const Addresses& addresses, const TableCommand& command) {
  const auto source = addresses.find(command.source);
  if (source == addresses.end())
    return fail(ErrorKind::kNotFound, "table loader: '{}' was not allocated", command.source);
  DOPPEL_ASSIGN(const auto field, part_of(files, command.file, command.offset, command.size));
  store_le_sized(field.data(), command.size, source->second + command.start);
  return {};
}

}  // namespace

void TableLoader::allocate(std::string_view file, std::uint32_t alignment, TableZone zone) {
  commands_.push_back(
      {.kind = TableCommandKind::kAllocate, .file = std::string(file), .length = alignment, .zone = zone});
}

void TableLoader::add_pointer(std::string_view file, std::uint32_t offset, std::uint8_t size, std::string_view source) {
  commands_.push_back({.kind = TableCommandKind::kAddPointer,
                       .file = std::string(file),
                       .source = std::string(source),
                       .offset = offset,
                       .size = size});
}

void TableLoader::add_checksum(std::string_view file, std::uint32_t offset, std::uint32_t start, std::uint32_t length) {
  commands_.push_back({.kind = TableCommandKind::kAddChecksum,
                       .file = std::string(file),
                       .offset = offset,
                       .start = start,
                       .length = length});
}

void TableLoader::write_pointer(std::string_view file, std::uint32_t offset, std::uint8_t size, std::string_view source,
                                std::uint32_t source_offset) {
  commands_.push_back({.kind = TableCommandKind::kWritePointer,
                       .file = std::string(file),
                       .source = std::string(source),
                       .offset = offset,
                       .start = source_offset,
                       .size = size});
}

Bytes TableLoader::encode() const {
  ByteWriter writer;
  for (const TableCommand& command : commands_) {
    const std::size_t start = writer.size();
    writer.u32(static_cast<std::uint32_t>(command.kind)).text(command.file, kFwCfgNameSize);
    switch (command.kind) {
      case TableCommandKind::kAllocate: writer.u32(command.length).u8(static_cast<std::uint8_t>(command.zone)); break;
      case TableCommandKind::kAddPointer:
        writer.text(command.source, kFwCfgNameSize).u32(command.offset).u8(command.size);
        break;
      case TableCommandKind::kAddChecksum: writer.u32(command.offset).u32(command.start).u32(command.length); break;
      case TableCommandKind::kWritePointer:
        writer.text(command.source, kFwCfgNameSize).u32(command.offset).u32(command.start).u8(command.size);
        break;
    }
    writer.zeros(start + kTableCommandSize - writer.size());
  }
  return writer.take();
}

Result<Addresses> TableLoader::link(TableFiles& files, const Placer& place) const {
  Addresses addresses;
  for (const TableCommand& command : commands_) {
    switch (command.kind) {
      case TableCommandKind::kAllocate: {
        DOPPEL_ASSIGN(const auto whole, part_of(files, command.file, 0, 0));
        DOPPEL_ASSIGN(const std::uint64_t address,
                      place(command.file, files.find(command.file)->second.size(), command));
        (void)whole;
        addresses[command.file] = address;
        break;
      }
      case TableCommandKind::kAddPointer: DOPPEL_TRY(link_pointer(files, addresses, command)); break;
      case TableCommandKind::kAddChecksum: DOPPEL_TRY(link_checksum(files, command)); break;
      case TableCommandKind::kWritePointer: DOPPEL_TRY(link_written_pointer(files, addresses, command)); break;
    }
  }
  return addresses;
}

}  // namespace doppel::hw
