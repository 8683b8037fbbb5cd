#include "hw/ide/ata_ncq.h"

#include <algorithm>

#include "base/bits.h"

namespace doppel::hw {

using ata::kSectorSize;

std::array<std::byte, kSectorSize> NcqErrorLog::page() const {
  std::array<std::byte, kSectorSize> page{};
  page[0] = std::byte{tag};
  page[2] = std::byte{status};
  page[3] = std::byte{error};
  for (unsigned i = 0; i < 3; ++i) {
    page[4 + i] = static_cast<std::byte>(sector >> (8 * i));
    page[8 + i] = static_cast<std::byte>(sector >> (24 + 8 * i));
  }
  page[7] = std::byte{ata::device::kLba};
  unsigned sum = 0;
  for (const std::byte byte : page) sum += std::to_integer<unsigned>(byte);
  page.back() = static_cast<std::byte>(0x100 - (sum & 0xffU));
  return page;
}

/// The count is where other commands have features, the tag where they have the count.
void AtaNcq::begin(std::uint8_t opcode, const TaskFile& task) {
  constexpr std::uint8_t kForceUnitAccess = 0x80;
  constexpr std::uint64_t kMost = 0x10000;
  const unsigned tag = task.count() >> 3U;
  const std::uint64_t count = task.features() | std::uint64_t{task.before[0]} << 8U;
  Command& command = commands_.at(tag);
  if (test_bit(active_, tag)) return failed(tag, ata::error::kAbort);
  command = {.step = opcode == ata::command::kReadQueued ? Step::kRead : Step::kWrite,
             .durable = (task.device & kForceUnitAccess) != 0,
             .next = task.lba48(),
             .rest = count == 0 ? kMost : count,
             .ticket = next_ticket_++};
  active_ = with_bit(active_, tag, true);
  if (command.step == Step::kWrite && drive_.medium().read_only()) return failed(tag, ata::error::kAbort);
  if (command.next > drive_.sectors() || command.rest > drive_.sectors() - command.next)
    return failed(tag, ata::error::kNotFound);
  next_chunk(tag);
}

void AtaNcq::next_chunk(unsigned tag) {
  Command& command = commands_[tag];
  command.chunk = std::min(command.rest, kChunkSectors);
  command.buffer = std::make_shared_for_overwrite<std::byte[]>(static_cast<std::size_t>(command.chunk * kSectorSize));
  if (command.step == Step::kWrite && !host_.move_queued(tag, bytes(command), false)) return drop(tag);
  ask(tag);
}

void AtaNcq::ask(unsigned tag) {
  const Command& command = commands_[tag];
  ++in_flight_;
  auto begin = [&disk = drive_.medium(), step = command.step, offset = command.next * kSectorSize,
                size = command.chunk * kSectorSize, buffer = command.buffer](block::Done done) {
    block::Buffers buffers{{.iov_base = buffer.get(), .iov_len = static_cast<std::size_t>(size)}};
    auto finished = [buffer, done = std::move(done)](Result<> result) { done(std::move(result)); };
    if (step == Step::kRead) return disk.read(offset, std::move(buffers), std::move(finished));
    if (step == Step::kWrite) return disk.write(offset, std::move(buffers), std::move(finished));
    disk.flush(std::move(finished));
  };
  host_.submit_queued(std::move(begin),
                      [this, tag, ticket = command.ticket](const Result<>& result) { answered(tag, ticket, result); });
}

void AtaNcq::answered(unsigned tag, std::uint64_t ticket, const Result<>& result) {
  --in_flight_;
  const Command& command = commands_[tag];
  if (!test_bit(active_, tag) || command.ticket != ticket) return;
  if (!result) {
    const bool beyond = result.error().kind() == ErrorKind::kOutOfRange;
    const std::uint8_t other = command.step == Step::kRead ? ata::error::kUncorrectable : ata::error::kAbort;
    return failed(tag, beyond ? ata::error::kNotFound : other);
  }
  if (command.step == Step::kFlush) return finish(tag);
  if (command.step == Step::kRead && !host_.move_queued(tag, bytes(command), true)) return drop(tag);
  chunk_done(tag);
}

void AtaNcq::chunk_done(unsigned tag) {
  Command& command = commands_[tag];
  command.next += command.chunk;
  command.rest -= command.chunk;
  if (command.rest != 0) return next_chunk(tag);
  const bool flushes =
      command.step == Step::kWrite && drive_.medium().has_write_cache() && (command.durable || drive_.writes_through());
  if (!flushes) return finish(tag);
  command.step = Step::kFlush;
  command.chunk = 0;
  ask(tag);
}

void AtaNcq::finish(unsigned tag) {
  drop(tag);
  host_.queued_done(tag);
}

void AtaNcq::drop(unsigned tag) {
  active_ = with_bit(active_, tag, false);
  commands_[tag] = {};
}

void AtaNcq::failed(unsigned tag, std::uint8_t error) {
  constexpr std::uint8_t kStatus = ata::status::kReady | ata::status::kSeekComplete | ata::status::kError;
  drive_.note_queued_error(
      {.tag = static_cast<std::uint8_t>(tag), .status = kStatus, .error = error, .sector = commands_[tag].next});
  cancel();
  host_.queued_failed(tag, error);
}

void AtaNcq::cancel() {
  active_ = 0;
  commands_.fill({});
}

std::vector<NcqCommandState> AtaNcq::save() const {
  std::vector<NcqCommandState> all;
  for (std::uint8_t tag = 0; tag < kTags; ++tag) {
    const Command& command = commands_[tag];
    if (!test_bit(active_, tag)) continue;
    NcqCommandState& saved = all.emplace_back(NcqCommandState{
        .tag = tag, .step = command.step, .durable = command.durable, .next = command.next, .rest = command.rest});
    if (command.step != Step::kWrite) continue;
    for (const std::byte byte : bytes(command)) saved.data.push_back(std::to_integer<std::uint8_t>(byte));
  }
  return all;
}

Result<> AtaNcq::load(const std::vector<NcqCommandState>& saved) {
  cancel();
  for (const NcqCommandState& state : saved) {
    const std::uint64_t chunk = state.step == Step::kFlush ? 0 : std::min(state.rest, kChunkSectors);
    const bool good = state.tag < kTags && !test_bit(active_, state.tag) && state.step > Step::kIdle &&
                      state.step <= Step::kFlush && state.next <= drive_.sectors() &&
                      state.rest <= drive_.sectors() - state.next && (state.step == Step::kFlush || state.rest != 0) &&
                      state.data.size() == (state.step == Step::kWrite ? chunk * kSectorSize : 0);
    if (!good) {
      cancel();
      return fail(ErrorKind::kCorrupt, "the saved state of a disk's queued commands is damaged");
    }
    Command& command = commands_[state.tag];
    command = {.step = state.step,
               .durable = state.durable,
               .next = state.next,
               .rest = state.rest,
               .chunk = chunk,
               .buffer = std::make_shared<std::byte[]>(static_cast<std::size_t>(chunk * kSectorSize)),
               .ticket = next_ticket_++};
    std::ranges::transform(state.data, command.buffer.get(), [](std::uint8_t byte) { return std::byte{byte}; });
    active_ = with_bit(active_, state.tag, true);
  }
  for (const NcqCommandState& state : saved) ask(state.tag);
  return {};
}

}  // namespace doppel::hw
