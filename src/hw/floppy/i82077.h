// Intel's 82077AA floppy controller with up to four drives, as PCs have it at port 3F0h ("isa-fdc").
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/log.h"
#include "block/disk.h"
#include "hw/core/device.h"
#include "hw/core/irq_line.h"
#include "hw/floppy/floppy_format.h"
#include "hw/floppy/i82077_registers.h"
#include "hw/floppy/i82077_state.h"
#include "hw/isa/i8237.h"
#include "memory/io_handler.h"

namespace doppel::hw {

/// In AT mode. Heads move at once, and a sector passes as soon as somebody wants it; a command is as long as its disk
/// takes. Data goes a sector at a time: to or from the disk on its loop's thread, and through the 8237, or the FIFO, on
/// whichever thread has the next piece ready. Only sectors of 512 bytes exist. Nothing marks data as deleted.
class I82077 final : public Device {
 public:
  static constexpr std::uint16_t kBasePort = 0x3f0;
  static constexpr std::uint16_t kFirstPort = 0x3f2;  // of kPortCount; DIR and CCR are at kRatePort
  static constexpr std::uint16_t kPortCount = 4;
  static constexpr std::uint16_t kRatePort = 0x3f7;
  static constexpr unsigned kIrq = 6;
  static constexpr unsigned kDmaChannel = 2;
  static constexpr unsigned kDrives = 2;  // that a PC has plugs for
  static constexpr memory::IoSizes kIoSizes{1, 1};

  /// DMA outlives this; its channel kDmaChannel becomes this chip's. Created and destroyed on the loop's thread.
  I82077(IrqPin irq, I8237& dma, Logger log = {});
  ~I82077() override;

  /// Before the machine runs. DISK may be nullptr: a drive without a medium; else it outlives its requests.
  void add_drive(unsigned unit, block::Disk* disk);
  [[nodiscard]] bool has_drive(unsigned unit) const { return drives_.at(unit).present; }
  /// What CMOS is to call the drive.
  [[nodiscard]] FloppyDrive drive_type(unsigned unit) const;

  [[nodiscard]] std::string_view name() const override { return "isa-fdc"; }
  void reset() override;
  void save(state::Writer& writer) override;
  Result<> load(state::Reader& reader) override;

  [[nodiscard]] memory::IoHandler& ports() { return ports_; }          // kFirstPort and on
  [[nodiscard]] memory::IoHandler& rate_port() { return rate_port_; }  // kRatePort

 private:
  class Window final : public memory::IoHandler {
   public:
    Window(I82077& chip, unsigned first) : chip_(chip), first_(first) {}
    [[nodiscard]] std::uint64_t read(std::uint64_t offset, unsigned size) override;
    void write(std::uint64_t offset, unsigned size, std::uint64_t value) override;

   private:
    I82077& chip_;
    const unsigned first_;
  };
  struct Drive {
    bool present = false;
    block::Disk* disk = nullptr;
    FloppyFormat format{};
  };
  struct Command;
  using Sector = std::shared_ptr<std::vector<std::byte>>;

  static const Command* find_command(std::uint8_t opcode);
  /// A whole command that goes through sectors; one whose parameters are not all there.
  [[nodiscard]] static bool moves_sectors(std::span<const std::uint8_t> command);
  [[nodiscard]] static bool is_incomplete(std::span<const std::uint8_t> command);
  static const Command kCommands[];

  // All under the lock.
  std::uint8_t read_register(fdc::Register reg);
  void write_register(fdc::Register reg, std::uint8_t value);
  [[nodiscard]] std::uint8_t main_status() const;
  void write_output(std::uint8_t value);
  void soft_reset();
  void leave_reset();
  std::uint8_t read_fifo();
  void write_fifo(std::uint8_t value);
  void execute();
  void respond(std::vector<std::uint8_t> result);
  void set_interrupt(bool level);
  void update_irq();
  [[nodiscard]] bool uses_dma() const { return (now_.specify[1] & fdc::kSpecifyNonDma) == 0; }

  // Commands, in i82077_commands.cpp.
  void read_data() { begin_transfer(FdcKind::kRead); }
  void read_deleted() { begin_transfer(FdcKind::kReadDeleted); }
  void read_track() { begin_transfer(FdcKind::kReadTrack); }
  void write_data() { begin_transfer(FdcKind::kWrite); }
  void verify() { begin_transfer(FdcKind::kVerify); }
  void scan() { begin_transfer(FdcKind::kScan); }
  void format_track();
  void read_id();
  void recalibrate();
  void seek();
  void relative_seek();
  void sense_interrupt();
  void sense_drive();
  void specify();
  void configure();
  void version();
  void dump_registers();
  void set_perpendicular();
  void set_lock();
  void move_head(unsigned unit, unsigned track);
  void note_seek(unsigned unit, std::uint8_t status);

  // The execution phase, in i82077_transfer.cpp.
  [[nodiscard]] unsigned unit() const { return now_.command[1] & 3U; }
  [[nodiscard]] std::uint8_t head() const { return now_.command[1] >> 2U & 1U; }
  [[nodiscard]] Drive& drive() { return drives_.at(unit()); }
  [[nodiscard]] bool finds_marks();
  void begin_transfer(FdcKind kind);
  void begin_sector();
  void offer_to_host(std::size_t size);
  [[nodiscard]] std::optional<std::uint64_t> offset_on_disk(std::uint8_t cylinder, std::uint8_t head,
                                                            std::uint8_t sector);
  [[nodiscard]] bool to_host() const;
  void host_moved(std::size_t bytes, bool terminal_count);
  void host_is_done();
  void format_sector();
  void compare_scan();
  void sector_done();
  [[nodiscard]] bool advance();
  void finish(std::uint8_t status1, std::uint8_t status2);
  void fail(std::uint8_t status1, std::uint8_t status2);
  void end_transfer(std::uint8_t status0, std::uint8_t status1, std::uint8_t status2);
  void request_disk();
  void disk_answered(const Result<>& result);
  void cancel();
  [[nodiscard]] bool wants_dma() const;

  /// What waits for the lock to be free: requests to the disk, the 8237's line, data through it. With no lock held.
  void settle();
  void begin_disk_request();
  void run_dma();
  [[nodiscard]] bool move_by_dma();
  [[nodiscard]] static Result<> check(const I82077State& saved);

  I8237& dma_;
  const Logger log_;
  IrqLine irq_;
  Window ports_{*this, kFirstPort - kBasePort};
  Window rate_port_{*this, kRatePort - kBasePort};
  std::array<Drive, I82077State::kDrives> drives_;
  I82077State now_;

  Sector sector_;             // what the disk reads into or writes from
  bool disk_wanted_ = false;  // a request has still to begin
  bool disk_busy_ = false;    // one is under way
  bool dma_busy_ = false;     // somebody is moving data
  bool dma_again_ = false;    // somebody else wanted to meanwhile
  std::uint64_t ticket_ = 0;  // of the present transfer: what belongs to an older one counts no more
  const std::shared_ptr<const bool> alive_ = std::make_shared<const bool>(true);
};

}  // namespace doppel::hw
