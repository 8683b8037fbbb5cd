// The NVM command set: NVM Express base specification 1.4, chapter 6; and what it shares with admin commands.
#include <algorithm>
#include <cstring>

#include "hw/nvme/nvme.h"

namespace doppel::hw {

using nvme::IoOpcode;
using nvme::Namespace;

namespace {

constexpr std::uint64_t kVerifyPiece = 512 * kKiB;
constexpr std::uint64_t kRangeSize = 16;

enum class Writes : std::uint8_t { kNo, kYes };

std::uint64_t first_block(const nvme::Command& command) {
  return std::uint64_t{command.dword11} << 32U | command.dword10;
}
std::uint64_t block_count(const nvme::Command& command) {
  return bits<std::uint32_t>(command.dword12, 15, 0) + std::uint64_t{1};
}

}  // namespace

struct Nvme::IoCommand {
  IoOpcode opcode;
  Outcome (Nvme::*run)(Request&);
  Writes writes = Writes::kNo;
};

std::span<const Nvme::IoCommand> Nvme::io_commands() {
  static constexpr IoCommand kCommands[] = {
      {IoOpcode::kFlush, &Nvme::flush},
      {IoOpcode::kWrite, &Nvme::write, Writes::kYes},
      {IoOpcode::kRead, &Nvme::read},
      {IoOpcode::kCompare, &Nvme::compare},
      {IoOpcode::kWriteZeroes, &Nvme::write_zeroes, Writes::kYes},
      {IoOpcode::kDatasetManagement, &Nvme::dataset_management, Writes::kYes},
      {IoOpcode::kVerify, &Nvme::verify},
  };
  return kCommands;
}

nvme::Namespace* Nvme::find_namespace(std::uint32_t id) {
  const auto found = namespaces_.find(id);
  return found == namespaces_.end() ? nullptr : &found->second;
}

Nvme::Outcome Nvme::execute_io(Request& request) {
  const auto rows = io_commands();
  const auto row = std::ranges::find(rows, static_cast<IoOpcode>(request.command.opcode), &IoCommand::opcode);
  if (row == rows.end()) return Status::kInvalidOpcode;
  Namespace* space = find_namespace(request.command.namespace_id);
  const bool for_all = row->opcode == IoOpcode::kFlush && request.command.namespace_id == nvme::kAllNamespaces;
  if (space == nullptr && !for_all) return Status::kInvalidNamespace;
  if (row->writes == Writes::kYes && space->disk().read_only()) return Status::kWriteProtected;
  return (this->*row->run)(request);
}

// ---- Data

Nvme::Outcome Nvme::map_data(Request& request, std::uint64_t length) {
  if (length > std::uint64_t{1} << (nvme::kSmallestPageShift + config_.mdts)) return Status::kInvalidField;
  const auto memory = dma();
  if (!memory) return Status::kDataTransferError;
  auto map = nvme::DataMap::create(*memory, request.command, length, configuration_.page_shift());
  if (!map) return map.error();
  request.data = std::move(*map);
  return std::nullopt;
}

void Nvme::allocate(Request& request, std::uint64_t size) {
  bytes_under_way_ += size - request.buffer_size;
  request.buffer_size = size;
  request.buffer = std::make_shared_for_overwrite<std::byte[]>(static_cast<std::size_t>(size));
}

/// LENGTH bytes from the guest, in the request's buffer.
Nvme::Outcome Nvme::take_data(Request& request, std::uint64_t length) {
  if (const Outcome bad = map_data(request, length)) return bad;
  return copy_data(request);
}

Nvme::Outcome Nvme::copy_data(Request& request) {
  const std::uint64_t length = request.data.length();
  allocate(request, length);
  const auto memory = dma();
  if (!memory || !request.data.from_guest(*memory, {request.buffer.get(), static_cast<std::size_t>(length)}))
    return Status::kDataTransferError;
  return std::nullopt;
}

Nvme::Outcome Nvme::give_data(Request& request, std::span<const std::byte> data) {
  const auto memory = dma();
  if (!memory || !request.data.to_guest(*memory, data)) return Status::kDataTransferError;
  return Status::kSuccess;
}

Nvme::Outcome Nvme::reply(Request& request, std::span<const std::byte> data) {
  if (const Outcome bad = map_data(request, data.size())) return bad;
  return give_data(request, data);
}

// ---- Disks

void Nvme::submit(Request& request, DiskQueue::Begin begin, Step then) {
  ++in_flight_;
  request.then = then;
  disks_.add(std::move(begin), [this, ticket = request.ticket](const Result<>& result) {
    --in_flight_;
    disk_answered(ticket, result);
    settle();
  });
}

void Nvme::disk_answered(std::uint64_t ticket, const Result<>& result) {
  const auto found = requests_.find(ticket);
  if (found == requests_.end()) return;  // nobody waits for it any more
  Request& request = found->second;
  const Step then = std::exchange(request.then, nullptr);
  if (const Outcome outcome = (this->*then)(request, result)) finish(request, *outcome);
  if (has_work()) kick();
}

/// Into the request's buffer, which is to have SIZE bytes.
void Nvme::read_disk(Request& request, block::Disk& disk, std::uint64_t offset, std::uint64_t size, Step then) {
  allocate(request, size);
  submit(
      request,
      [&disk, offset, size, buffer = request.buffer](block::Done done) {
        disk.read(offset, {{.iov_base = buffer.get(), .iov_len = static_cast<std::size_t>(size)}},
                  [buffer, done = std::move(done)](Result<> result) { done(std::move(result)); });
      },
      then);
}

/// The request's data, where it is in guest memory, if the disk can work on it there. A controller that is reset is not
/// ready again before the disks have answered (settle()), and until then the memory is lent.
std::shared_ptr<const memory::DmaMappings> Nvme::lend(Request& request, memory::DmaSpace::Access access) {
  const auto memory = dma();
  auto lent = memory ? request.data.lend(*memory, access) : nullptr;
  request.lent = lent != nullptr;
  return lent;
}

Nvme::Outcome Nvme::failed(const Error& error, Status otherwise) {
  controller_log_.note_media_error();
  switch (error.kind()) {
    case ErrorKind::kOutOfRange: return Status::kLbaOutOfRange;
    case ErrorKind::kNoSpace: return Status::kCapacityExceeded;
    case ErrorKind::kPermissionDenied: return Status::kWriteProtected;
    default: return otherwise;
  }
}

// ---- Commands

Nvme::Outcome Nvme::check_blocks(const Request& request, Namespace& space) const {
  if (!space.contains(first_block(request.command), block_count(request.command))) return Status::kLbaOutOfRange;
  return std::nullopt;
}

/// One namespace or all, one after another; next is the number of the last one.
Nvme::Outcome Nvme::flush(Request& request) {
  const std::uint32_t id = request.command.namespace_id;
  request.next = id == nvme::kAllNamespaces ? 0 : id - 1;
  return flush_next(request, {});
}

Nvme::Outcome Nvme::flush_next(Request& request, const Result<>& result) {
  if (!result) return failed(result.error(), Status::kInternalError);
  const bool for_all = request.command.namespace_id == nvme::kAllNamespaces;
  const auto space = namespaces_.upper_bound(static_cast<std::uint32_t>(request.next));
  if (space == namespaces_.end() || (!for_all && space->first != request.command.namespace_id)) return Status::kSuccess;
  request.next = space->first;
  submit(request, [&disk = space->second.disk()](block::Done done) { disk.flush(std::move(done)); }, &Nvme::flush_next);
  return std::nullopt;
}

Nvme::Outcome Nvme::read(Request& request) {
  Namespace& space = *find_namespace(request.command.namespace_id);
  if (const Outcome bad = check_blocks(request, space)) return bad;
  const std::uint64_t size = space.bytes(block_count(request.command));
  if (const Outcome bad = map_data(request, size)) return bad;
  const std::uint64_t offset = space.bytes(first_block(request.command));
  const auto lent = lend(request, memory::DmaSpace::Access::kWrite);
  if (!lent) {
    read_disk(request, space.disk(), offset, size, &Nvme::read_done);
    return std::nullopt;
  }
  submit(
      request,
      [&disk = space.disk(), offset, lent](block::Done done) {
        disk.read(offset, lent->pieces(), [lent, done = std::move(done)](Result<> result) {
          lent->mark_dirty();
          done(std::move(result));
        });
      },
      &Nvme::read_done);
  return std::nullopt;
}

Nvme::Outcome Nvme::read_done(Request& request, const Result<>& result) {
  if (!result) return failed(result.error(), Status::kReadError);
  controller_log_.note_read(request.data.length());
  if (request.lent) return Status::kSuccess;
  return give_data(request, {request.buffer.get(), static_cast<std::size_t>(request.buffer_size)});
}

Nvme::Outcome Nvme::write(Request& request) {
  Namespace& space = *find_namespace(request.command.namespace_id);
  if (const Outcome bad = check_blocks(request, space)) return bad;
  if (const Outcome bad = map_data(request, space.bytes(block_count(request.command)))) return bad;
  const std::uint64_t offset = space.bytes(first_block(request.command));
  const auto lent = lend(request, memory::DmaSpace::Access::kRead);
  if (!lent)
    if (const Outcome bad = copy_data(request)) return bad;
  submit(
      request,
      [&disk = space.disk(), offset, lent, size = request.buffer_size, buffer = request.buffer](block::Done done) {
        block::Buffers data{{.iov_base = buffer.get(), .iov_len = static_cast<std::size_t>(size)}};
        if (lent) data = lent->pieces();
        disk.write(offset, std::move(data),
                   [lent, buffer, done = std::move(done)](Result<> result) { done(std::move(result)); });
      },
      &Nvme::write_done);
  return std::nullopt;
}

/// Behind every command that changes blocks: a flush, if it asks for one or there is to be no write cache.
Nvme::Outcome Nvme::write_done(Request& request, const Result<>& result) {
  constexpr unsigned kForceUnitAccess = 30;
  if (!result) return failed(result.error(), Status::kWriteFault);
  controller_log_.note_write(request.data.length());
  block::Disk& disk = find_namespace(request.command.namespace_id)->disk();
  const bool forced = test_bit<std::uint32_t>(request.command.dword12, kForceUnitAccess) || !features_.write_cache();
  if (!forced || !disk.has_write_cache()) return Status::kSuccess;
  submit(request, [&disk](block::Done done) { disk.flush(std::move(done)); }, &Nvme::flush_done);
  return std::nullopt;
}

Nvme::Outcome Nvme::flush_done(Request& /*request*/, const Result<>& result) {
  if (!result) return failed(result.error(), Status::kWriteFault);
  return Status::kSuccess;
}

Nvme::Outcome Nvme::compare(Request& request) {
  Namespace& space = *find_namespace(request.command.namespace_id);
  if (const Outcome bad = check_blocks(request, space)) return bad;
  const std::uint64_t size = space.bytes(block_count(request.command));
  if (const Outcome bad = map_data(request, size)) return bad;
  read_disk(request, space.disk(), space.bytes(first_block(request.command)), size, &Nvme::compare_done);
  return std::nullopt;
}

Nvme::Outcome Nvme::compare_done(Request& request, const Result<>& result) {
  if (!result) return failed(result.error(), Status::kReadError);
  const auto size = static_cast<std::size_t>(request.buffer_size);
  const auto wanted = std::make_unique_for_overwrite<std::byte[]>(size);
  const auto memory = dma();
  if (!memory || !request.data.from_guest(*memory, {wanted.get(), size})) return Status::kDataTransferError;
  return std::memcmp(wanted.get(), request.buffer.get(), size) == 0 ? Status::kSuccess : Status::kCompareFailure;
}

Nvme::Outcome Nvme::write_zeroes(Request& request) {
  constexpr unsigned kDeallocate = 25;
  Namespace& space = *find_namespace(request.command.namespace_id);
  if (const Outcome bad = check_blocks(request, space)) return bad;
  const std::uint64_t offset = space.bytes(first_block(request.command));
  const std::uint64_t size = space.bytes(block_count(request.command));
  const bool may_unmap = test_bit<std::uint32_t>(request.command.dword12, kDeallocate);
  submit(
      request,
      [&disk = space.disk(), offset, size, may_unmap](block::Done done) {
        disk.write_zeroes(offset, size, may_unmap, std::move(done));
      },
      &Nvme::write_done);
  return std::nullopt;
}

/// A list of up to 256 ranges, each of 32 bits of attributes, 32 bits of length and 64 bits of the first block.
Nvme::Outcome Nvme::dataset_management(Request& request) {
  constexpr unsigned kDeallocate = 2;
  const std::uint64_t ranges = bits<std::uint32_t>(request.command.dword10, 7, 0) + std::uint64_t{1};
  if (const Outcome bad = take_data(request, ranges * kRangeSize)) return bad;
  // Hints of how blocks will be used are not of use here.
  if (!test_bit<std::uint32_t>(request.command.dword11, kDeallocate)) return Status::kSuccess;
  return discard_next(request, {});
}

Nvme::Outcome Nvme::discard_next(Request& request, const Result<>& result) {
  if (!result) return failed(result.error(), Status::kWriteFault);
  Namespace& space = *find_namespace(request.command.namespace_id);
  while (request.next < request.buffer_size / kRangeSize) {
    const std::byte* range = request.buffer.get() + request.next++ * kRangeSize;
    const auto count = load_le<std::uint32_t>(range + 4);
    const auto first = load_le<std::uint64_t>(range + 8);
    if (!space.contains(first, count)) return Status::kLbaOutOfRange;
    if (count == 0) continue;
    submit(
        request,
        [&disk = space.disk(), offset = space.bytes(first), size = space.bytes(count)](block::Done done) {
          disk.discard(offset, size, std::move(done));
        },
        &Nvme::discard_next);
    return std::nullopt;
  }
  return Status::kSuccess;
}

/// Reads and throws away; next counts bytes.
Nvme::Outcome Nvme::verify(Request& request) {
  Namespace& space = *find_namespace(request.command.namespace_id);
  if (const Outcome bad = check_blocks(request, space)) return bad;
  return verify_next(request, {});
}

Nvme::Outcome Nvme::verify_next(Request& request, const Result<>& result) {
  if (!result) return failed(result.error(), Status::kReadError);
  Namespace& space = *find_namespace(request.command.namespace_id);
  const std::uint64_t rest = space.bytes(block_count(request.command)) - request.next;
  if (rest == 0) return Status::kSuccess;
  const std::uint64_t size = std::min(rest, kVerifyPiece);
  const std::uint64_t offset = space.bytes(first_block(request.command)) + request.next;
  request.next += size;
  read_disk(request, space.disk(), offset, size, &Nvme::verify_next);
  return std::nullopt;
}

}  // namespace doppel::hw
