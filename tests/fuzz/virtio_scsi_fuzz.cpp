// Virtio's SCSI adapter with a disk and a CD-ROM drive: hostile rings, commands and task management.
#include "fuzz/virtio_board.h"
#include "hw/scsi/scsi_opcodes.h"
#include "hw/virtio/virtio_scsi.h"

namespace doppel::fuzz {
namespace {

using namespace hw::scsi;

constexpr auto kCommands = std::to_array<std::uint8_t>({kTestUnitReady,
                                                        kRequestSense,
                                                        kRead6,
                                                        kWrite6,
                                                        kInquiry,
                                                        kReserve6,
                                                        kRelease6,
                                                        kModeSense6,
                                                        kStartStopUnit,
                                                        kPreventRemoval,
                                                        kReadCapacity10,
                                                        kRead10,
                                                        kWrite10,
                                                        kVerify10,
                                                        kSynchronizeCache10,
                                                        kWriteSame10,
                                                        kUnmap,
                                                        kReadToc,
                                                        kGetConfiguration,
                                                        kGetEventStatus,
                                                        kModeSense10,
                                                        kRead16,
                                                        kWrite16,
                                                        kVerify16,
                                                        kSynchronizeCache16,
                                                        kWriteSame16,
                                                        kServiceActionIn16,
                                                        kReportLuns,
                                                        kRead12,
                                                        kWrite12});
constexpr std::uint8_t kDiskTarget = 3;
constexpr std::uint8_t kCdromTarget = 4;
constexpr std::uint32_t kRequestSize = 19 + 32;
constexpr std::uint32_t kResponseSize = 12 + 96;
constexpr std::size_t kCdb = 19;

struct ScsiBoard : VirtioBoard {
  static constexpr unsigned kQueues = 3;

  explicit ScsiBoard(std::uint8_t options) : VirtioBoard(options, kQueues) {
    add(kDiskTarget, hw::ScsiKind::kDisk, disk);
    add(kCdromTarget, hw::ScsiKind::kCdrom, cdrom);
    attach(hw::create_virtio_scsi(pci.services(), parts(), bus, config_of<hw::VirtioScsiConfig>(options), 1));
  }
  void add(std::uint8_t target, hw::ScsiKind kind, block::FakeDisk& behind) {
    auto unit = std::make_unique<hw::ScsiDisk>(kind, &behind, hw::ScsiDiskConfig{}, Logger());
    require(bus.add({target, 0}, std::move(unit)).has_value(), "a unit can be added");
  }
  void request(FuzzInput& input) {
    if (input.below(4) == 0) return manage(input);
    put_lun(input, kRest);
    put_bytes(input, kRest + 8, kRequestSize - 8);
    std::byte* const cdb = ram->host() + kRest + kCdb;
    cdb[0] = static_cast<std::byte>(kCommands[input.below(kCommands.size())]);
    if (input.take_bool()) std::fill_n(cdb + 2, 3, std::byte{0});  // most places are on the disk
    const std::uint32_t length = 512U * input.below(40);
    const std::uint64_t data = kRest + 0x400;
    const bool writes = input.take_bool();
    const std::array<Piece, 3> pieces{
        writes ? std::array<Piece, 3>{{{kRest, kRequestSize}, {data, length}, {kRest + 0x100, kResponseSize, true}}}
               : std::array<Piece, 3>{
                     {{kRest, kRequestSize}, {kRest + 0x100, kResponseSize, true}, {data, length, true}}}};
    offer(input, 2, pieces);
    if (input.take_bool()) cdrom.finish_all();
  }
  /// To the control queue: task management, or a subscription to events.
  void manage(FuzzInput& input) {
    store(kRest + 0x200, input.below(4));
    store(kRest + 0x204, input.below(10));
    put_lun(input, kRest + 0x208);
    put_bytes(input, kRest + 0x210, 8);
    const std::array<Piece, 2> pieces{{{kRest + 0x200, 24}, {kRest + 0x240, 8, true}}};
    offer(input, input.below(2), pieces);
  }
  void put_lun(FuzzInput& input, std::uint64_t at) {
    const auto choice = input.take<std::uint8_t>();
    const bool wild = choice > 240;
    const unsigned target = choice % 2U == 0 ? kDiskTarget : kCdromTarget;
    store(at, 1U | target << 8U | 0x40U << 16U);
    store(at + 4, 0);
    if (wild) put_bytes(input, at, 8);
  }
  void put_bytes(FuzzInput& input, std::uint64_t at, std::size_t count) {
    std::ranges::copy(input.take_bytes(count), ram->host() + at);
  }

  block::FakeDisk cdrom{1 << 16};
  hw::ScsiBus bus;
};

}  // namespace
}  // namespace doppel::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace doppel::fuzz;
  FuzzInput input(data, size);
  ScsiBoard board(input.take<std::uint8_t>());
  drive(input, board, &ScsiBoard::request);
  return 0;
}
