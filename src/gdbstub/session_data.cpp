// Session: the packets that read and write registers and memory.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "gdbstub/session.h"

namespace doppel::gdbstub {

namespace {

constexpr std::string_view kBadArgument = "E16";
constexpr std::string_view kBadAddress = "E0e";
constexpr std::string_view kIoError = "E05";

/// The most that fits into a reply as hexadecimal digits.
constexpr std::size_t kMaxRead = kMaxPacket / 2 - 8;

/// Parts of CpuState in which the two differ. MSRs that no register stands for are left out of AFTER: writing them back
/// could set a clock.
x86::StateParts changed_parts(const RegisterTable& table, const x86::CpuState& before, x86::CpuState& after) {
  std::array<std::byte, kMaxRegisterSize> old_value{};
  std::array<std::byte, kMaxRegisterSize> new_value{};
  auto parts = x86::StateParts{};
  for (const Register& reg : table.registers()) {
    read_register(before, reg, std::span(old_value).first(reg.size));
    read_register(after, reg, std::span(new_value).first(reg.size));
    if (!std::equal(old_value.begin(), old_value.begin() + reg.size, new_value.begin())) parts = parts | parts_of(reg);
  }
  std::erase_if(after.msrs,
                [&](const x86::Msr& msr) { return std::ranges::find(before.msrs, msr) != before.msrs.end(); });
  return parts;
}

}  // namespace

Result<> Session::store(const x86::CpuState& before, x86::CpuState& after) {
  const x86::StateParts parts = changed_parts(registers_, before, after);
  if (parts == x86::StateParts{}) return {};
  return target_.write_state(cpu_, after, parts);
}

Session::Reply Session::read_all_registers(Arguments /*arguments*/) {
  const auto state = target_.read_state(cpu_, RegisterTable::parts());
  if (!state) return std::string(kIoError);
  std::vector<std::byte> values(registers_.total_size());
  std::size_t offset = 0;
  for (const Register& reg : registers_.registers()) {
    read_register(*state, reg, std::span(values).subspan(offset, reg.size));
    offset += reg.size;
  }
  return to_hex(values);
}

Session::Reply Session::write_all_registers(Arguments arguments) {
  const auto values = from_hex(arguments.rest());
  if (!values || values->size() != registers_.total_size()) return std::string(kBadArgument);
  const auto before = target_.read_state(cpu_, RegisterTable::parts());
  if (!before) return std::string(kIoError);
  x86::CpuState after = *before;
  std::size_t offset = 0;
  for (const Register& reg : registers_.registers()) {
    if (!write_register(after, reg, std::span(*values).subspan(offset, reg.size))) return std::string(kBadArgument);
    offset += reg.size;
  }
  return store(*before, after) ? "OK" : std::string(kIoError);
}

Session::Reply Session::read_one_register(Arguments arguments) {
  const auto number = arguments.take_number();
  if (!number || *number >= registers_.registers().size()) return std::string(kBadArgument);
  const Register& reg = registers_.registers()[*number];
  const auto state = target_.read_state(cpu_, parts_of(reg));
  if (!state) return std::string(kIoError);
  std::array<std::byte, kMaxRegisterSize> value{};
  read_register(*state, reg, std::span(value).first(reg.size));
  return to_hex(std::span(value).first(reg.size));
}

/// "number=value".
Session::Reply Session::write_one_register(Arguments arguments) {
  const auto number = arguments.take_number();
  const auto value = arguments.take('=') ? from_hex(arguments.rest()) : std::nullopt;
  if (!number || *number >= registers_.registers().size() || !value) return std::string(kBadArgument);
  const Register& reg = registers_.registers()[*number];
  const auto before = target_.read_state(cpu_, parts_of(reg));
  if (!before) return std::string(kIoError);
  x86::CpuState after = *before;
  if (const auto written = write_register(after, reg, *value); !written) {
    log_.warn("{}: {}", reg.name, written.error().describe());
    return std::string(kBadArgument);
  }
  return store(*before, after) ? "OK" : std::string(kIoError);
}

Result<> Session::for_each_page(
    std::uint64_t address, std::size_t size,
    const std::function<Result<>(memory::GuestPhysAddr, std::size_t offset, std::size_t length)>& access) {
  for (std::size_t offset = 0; offset < size;) {
    const std::uint64_t at = address + offset;
    const std::size_t length = std::min<std::size_t>(size - offset, memory::kPageSize - at % memory::kPageSize);
    memory::GuestPhysAddr physical{at};
    if (!physical_) {
      DOPPEL_ASSIGN(physical, target_.translate(cpu_, at));
    }
    DOPPEL_TRY(access(physical, offset, length));
    offset += length;
  }
  return {};
}

/// "address,length". Less than was asked for comes back where the rest is not there.
Session::Reply Session::read_memory(Arguments arguments) {
  const auto address = arguments.take_number();
  const auto length = arguments.take(',') ? arguments.take_number() : std::nullopt;
  if (!address || !length || *length == 0) return std::string(kBadArgument);
  std::vector<std::byte> bytes(std::min<std::uint64_t>(*length, kMaxRead));
  std::size_t read = 0;
  const auto done = for_each_page(*address, bytes.size(), [&](auto physical, std::size_t offset, std::size_t size) {
    auto piece = control_.breakpoints().read_memory(physical, std::span(bytes).subspan(offset, size));
    if (piece) read = offset + size;
    return piece;
  });
  if (!done && read == 0) return std::string(kBadAddress);
  return to_hex(std::span(bytes).first(read));
}

Result<> Session::write_memory_at(std::uint64_t address, std::span<const std::byte> data) {
  return for_each_page(address, data.size(), [&](auto physical, std::size_t offset, std::size_t size) {
    return control_.breakpoints().write_memory(physical, data.subspan(offset, size));
  });
}

/// "address,length:hexadecimal".
Session::Reply Session::write_memory(Arguments arguments) {
  const auto address = arguments.take_number();
  const auto length = arguments.take(',') ? arguments.take_number() : std::nullopt;
  const auto data = arguments.take(':') ? from_hex(arguments.rest()) : std::nullopt;
  if (!address || !length || !data || data->size() != *length) return std::string(kBadArgument);
  return write_memory_at(*address, *data) ? "OK" : std::string(kBadAddress);
}

/// "address,length:bytes"; of length 0 to find out whether we know it.
Session::Reply Session::write_binary_memory(Arguments arguments) {
  const auto address = arguments.take_number();
  const auto length = arguments.take(',') ? arguments.take_number() : std::nullopt;
  if (!address || !length || !arguments.take(':') || arguments.rest().size() != *length)
    return std::string(kBadArgument);
  return write_memory_at(*address, std::as_bytes(std::span(arguments.rest()))) ? "OK" : std::string(kBadAddress);
}

Session::Reply Session::physical_mode(Arguments /*arguments*/) {
  return physical_ ? "1" : "0";
}

Session::Reply Session::set_physical_mode(Arguments arguments) {
  const auto wanted = arguments.take_number();
  if (!wanted) return std::string(kBadArgument);
  physical_ = *wanted != 0;
  return "OK";
}

}  // namespace doppel::gdbstub
