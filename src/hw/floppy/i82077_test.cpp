// The floppy controller: its commands by the data sheet, with a disk that answers when the test says so.
#include "hw/floppy/i82077.h"

#include <gtest/gtest.h>

#include "block/fake_disk.h"
#include "memory/address_space.h"

namespace doppel::hw {
namespace {

using Bytes = std::vector<std::uint8_t>;
using Kind = block::FakeDisk::Kind;

constexpr std::uint64_t kFloppySize = 2880 * 512;
constexpr std::uint32_t kBuffer = 0x10000;

struct I82077Test : testing::Test {
  I82077Test() {
    space.root().add(topology.ram("ram", memory::RamBlock::create({.size = 1 << 20}).value(), 0, 1 << 20), 0);
    for (std::size_t i = 0; i < disk.contents.size(); ++i)
      disk.contents[i] = static_cast<std::byte>(i / 512 * 7 + i % 512 / 2);
    fdc.add_drive(0, &disk);
    fdc.add_drive(1, nullptr);
    fdc.reset();
    out(7, 0);     // 500 kbit/s
    out(2, 0x1c);  // motor 0
    command({0x03, 0xdf, 0x02});
    command({0x0f, 0x00, 0x00});
    EXPECT_EQ(command({0x08}), (Bytes{0x20, 0}));
  }

  std::uint8_t in(unsigned reg) {
    return static_cast<std::uint8_t>(reg == 7 ? fdc.rate_port().read(0, 1) : fdc.ports().read(reg - 2, 1));
  }
  void out(unsigned reg, std::uint8_t value) {
    reg == 7 ? fdc.rate_port().write(0, 1, value) : fdc.ports().write(reg - 2, 1, value);
  }
  void send(const Bytes& bytes) {
    for (const std::uint8_t byte : bytes) {
      EXPECT_EQ(in(4) & 0xc0, 0x80) << "ready for the command's next byte";
      out(5, byte);
    }
  }
  Bytes result() {
    Bytes bytes;
    while ((in(4) & 0xd0) == 0xd0 && bytes.size() < 20) bytes.push_back(in(5));
    return bytes;
  }
  Bytes command(const Bytes& bytes) {
    send(bytes);
    disk.finish_all();
    return result();
  }
  /// Programs the 8237's channel 2 as a BIOS does. MODE: 46h to memory, 4Ah from memory.
  void set_up_dma(std::uint8_t mode, std::uint16_t bytes, std::uint32_t address = kBuffer) {
    const auto dma_out = [&](std::uint16_t port, std::uint32_t value) {
      for (const I8237::Ports& range : dma.ports())
        if (port >= range.port && port < range.port + range.size)
          range.handler->write(port - range.port, 1, value & 0xff);
    };
    dma_out(0x0a, 0x06);
    dma_out(0x0c, 0);
    dma_out(0x0b, mode);
    dma_out(0x04, address);
    dma_out(0x04, address >> 8U);
    dma_out(0x05, bytes - 1U);
    dma_out(0x05, (bytes - 1U) >> 8U);
    dma_out(0x81, address >> 16U);
    dma_out(0x0a, 0x02);
  }
  Bytes memory(std::uint32_t address, std::size_t size) {
    Bytes bytes(size);
    space.read({address}, std::as_writable_bytes(std::span(bytes)));
    return bytes;
  }
  Bytes on_disk(std::size_t sector, std::size_t count = 1) {
    Bytes bytes;
    for (std::size_t i = sector * 512; i < (sector + count) * 512; ++i)
      bytes.push_back(std::to_integer<std::uint8_t>(disk.contents.at(i)));
    return bytes;
  }
  std::vector<std::byte> saved() {
    state::Writer writer;
    fdc.save(writer);
    return writer.bytes();
  }

  memory::Topology topology;
  memory::AddressSpace space{topology, topology.container("memory", 0), "memory"};
  block::FakeDisk disk{kFloppySize};
  bool irq = false;
  IrqFunction irq_sink{[this](unsigned, bool level) { irq = level; }};
  I8237 dma{memory::DmaSpace(space)};
  I82077 fdc{{&irq_sink, 6}, dma};
};

TEST_F(I82077Test, ResetInterruptsAndPollsFourDrives) {
  out(2, 0x00);
  EXPECT_EQ(in(4), 0);
  EXPECT_FALSE(irq);
  out(2, 0x0c);
  EXPECT_TRUE(irq);
  for (std::uint8_t unit = 0; unit < 4; ++unit)
    EXPECT_EQ(command({0x08}), (Bytes{static_cast<std::uint8_t>(0xc0 | unit), 0}));
  EXPECT_FALSE(irq);
  EXPECT_EQ(command({0x08}), (Bytes{0x80}));
  out(4, 0x80);
  EXPECT_TRUE(irq) << "DSR resets, too";
}

TEST_F(I82077Test, TellsWhatItIs) {
  EXPECT_EQ(command({0x10}), (Bytes{0x90}));
  EXPECT_EQ(command({0x18}), (Bytes{0x80})) << "PART ID came with the 82078";
  EXPECT_EQ(command({0x04, 0x00}), (Bytes{0x38}));
  EXPECT_EQ(fdc.drive_type(0), FloppyDrive::k1440K);
  EXPECT_EQ(fdc.drive_type(1), FloppyDrive::k2880K);
}

TEST_F(I82077Test, KeepsItsConfigurationIfLocked) {
  command({0x13, 0x00, 0x57, 0x12});
  command({0x12, 0x84});
  EXPECT_EQ(command({0x94}), (Bytes{0x10}));
  out(2, 0);
  out(2, 0x1c);
  EXPECT_EQ(command({0x0e}), (Bytes{0, 0, 0, 0, 0xdf, 0x02, 0, 0x84, 0x57, 0x12}));
  EXPECT_EQ(command({0x14}), (Bytes{0}));
  out(2, 0);
  out(2, 0x1c);
  EXPECT_EQ(command({0x0e}), (Bytes{0, 0, 0, 0, 0xdf, 0x02, 0, 0x04, 0x20, 0}));
}

TEST_F(I82077Test, SeeksAndRecalibrates) {
  send({0x0f, 0x00, 40});
  EXPECT_TRUE(irq);
  EXPECT_EQ(command({0x08}), (Bytes{0x20, 40}));
  EXPECT_FALSE(irq);
  command({0xcf, 0x00, 5});
  EXPECT_EQ(command({0x08}), (Bytes{0x20, 45}));
  command({0x8f, 0x00, 200});
  EXPECT_EQ(command({0x08}), (Bytes{0x20, 0}));
  command({0x07, 0x01});
  EXPECT_EQ(command({0x08}), (Bytes{0x21, 0}));
  command({0x07, 0x02});
  EXPECT_EQ(command({0x08}), (Bytes{0x72, 0})) << "no such drive";
}

TEST_F(I82077Test, ChangeLineGoesWithAStep) {
  fdc.reset();
  out(2, 0x1c);
  EXPECT_EQ(in(7), 0x80);
  command({0x0f, 0x00, 1});
  EXPECT_EQ(in(7), 0x00);
  out(2, 0x2d);
  command({0x0f, 0x01, 1});
  EXPECT_EQ(in(7), 0x80) << "nothing in this drive";
}

TEST_F(I82077Test, ReadsByDma) {
  set_up_dma(0x46, 1024);
  send({0xe6, 0x00, 0, 0, 2, 2, 18, 0x1b, 0xff});
  EXPECT_EQ(in(4), 0x10) << "busy";
  disk.finish_all();
  EXPECT_TRUE(irq);
  EXPECT_EQ(result(), (Bytes{0, 0, 0, 0, 0, 4, 2}));
  EXPECT_FALSE(irq);
  EXPECT_EQ(memory(kBuffer, 1024), on_disk(1, 2));
}

TEST_F(I82077Test, WaitsForTheDmaChannel) {
  send({0xe6, 0x00, 0, 0, 1, 2, 18, 0x1b, 0xff});
  disk.finish_all();
  EXPECT_EQ(in(4), 0x10);
  set_up_dma(0x46, 512);
  EXPECT_EQ(result(), (Bytes{0, 0, 0, 0, 0, 2, 2}));
  EXPECT_EQ(memory(kBuffer, 512), on_disk(0));
}

TEST_F(I82077Test, MultiTrackGoesToTheOtherSide) {
  set_up_dma(0x46, 512 * 4);
  EXPECT_EQ(command({0xe6, 0x00, 0, 0, 17, 2, 18, 0x1b, 0xff}), (Bytes{0x04, 0, 0, 0, 1, 3, 2}));
  EXPECT_EQ(memory(kBuffer, 2048), on_disk(16, 4));
  set_up_dma(0x46, 512 * 4);
  EXPECT_EQ(command({0x66, 0x00, 0, 0, 17, 2, 18, 0x1b, 0xff}), (Bytes{0x40, 0x80, 0, 1, 0, 1, 2})) << "one side alone";
}

TEST_F(I82077Test, WritesByDma) {
  for (std::uint32_t i = 0; i < 700; ++i) space.write({kBuffer + i}, 1, i * 3);
  set_up_dma(0x4a, 700);
  EXPECT_EQ(command({0xc5, 0x04, 0, 1, 3, 2, 18, 0x1b, 0xff}), (Bytes{0x04, 0, 0, 0, 1, 5, 2}));
  Bytes expected = memory(kBuffer, 700);
  expected.resize(1024);
  EXPECT_EQ(on_disk(20, 2), expected) << "terminal count in a sector fills it with zeroes";
}

TEST_F(I82077Test, ReadsAndWritesByTheFifo) {
  command({0x03, 0xdf, 0x03});
  send({0xe6, 0x00, 0, 0, 18, 2, 18, 0x1b, 0xff});
  EXPECT_EQ(in(4), 0x30);
  disk.finish_all();
  EXPECT_TRUE(irq);
  Bytes bytes;
  for (unsigned i = 0; i < 512; ++i) {
    EXPECT_EQ(in(4), 0xf0);
    bytes.push_back(in(5));
  }
  EXPECT_EQ(bytes, on_disk(17));
  disk.finish_all();
  for (unsigned i = 0; i < 512 * 18; ++i) {
    (void)in(5);
    disk.finish_all();
  }
  EXPECT_EQ(result(), (Bytes{0x40, 0x80, 0, 1, 0, 1, 2})) << "nothing ends it but the cylinder's end";
  send({0x45, 0x00, 0, 0, 9, 2, 9, 0x1b, 0xff});
  for (unsigned i = 0; i < 512; ++i) {
    EXPECT_EQ(in(4), 0xb0);
    out(5, static_cast<std::uint8_t>(i * 5));
  }
  disk.finish_all();
  EXPECT_EQ(result(), (Bytes{0x40, 0x80, 0, 1, 0, 1, 2}));
  EXPECT_EQ(on_disk(8)[100], static_cast<std::uint8_t>(500));
}

TEST_F(I82077Test, FormatsASide) {
  for (unsigned i = 0; i < 18; ++i) space.write({kBuffer + 4 * i}, 4, 0x0200'0000U | (i + 1) << 16U | 1U << 8U);
  set_up_dma(0x4a, 72);
  EXPECT_EQ(command({0x4d, 0x04, 2, 18, 0x54, 0xf6}), (Bytes{0x04, 0, 0, 0, 1, 18, 2}));
  EXPECT_EQ(on_disk(18, 18), Bytes(512 * 18, 0xf6));
  EXPECT_NE(on_disk(36), Bytes(512, 0xf6));
}

TEST_F(I82077Test, Verifies) {
  EXPECT_EQ(command({0xf6, 0x80, 0, 0, 1, 2, 18, 0x1b, 3}), (Bytes{0, 0, 0, 0, 0, 4, 2}));
  EXPECT_EQ(disk.log.size(), 3U);
  EXPECT_EQ(command({0x56, 0x00, 0, 0, 17, 2, 18, 0x1b, 0}), (Bytes{0, 0, 0, 1, 0, 1, 2}));
}

TEST_F(I82077Test, Scans) {
  const Bytes other = on_disk(4);
  const Bytes wanted = on_disk(5);
  space.write({kBuffer}, std::as_bytes(std::span(other)));
  space.write({kBuffer + 512}, std::as_bytes(std::span(wanted)));
  set_up_dma(0x4a, 1024);
  EXPECT_EQ(command({0x51, 0x00, 0, 0, 4, 2, 18, 0x1b, 2}), (Bytes{0, 0, 0x08, 0, 0, 6, 2})) << "hit at the second";
  set_up_dma(0x4a, 512);
  EXPECT_EQ(command({0x51, 0x00, 0, 0, 9, 2, 9, 0x1b, 1}), (Bytes{0, 0, 0x04, 1, 0, 1, 2}));
}

TEST_F(I82077Test, ReadsIds) {
  EXPECT_EQ(command({0x4a, 0x00}), (Bytes{0, 0, 0, 0, 0, 1, 2}));
  EXPECT_EQ(command({0x4a, 0x04}), (Bytes{0x04, 0, 0, 0, 1, 2, 2}));
  EXPECT_EQ(command({0x4a, 0x01}), (Bytes{0x41, 0x01, 0, 0, 0, 0, 2})) << "no medium";
  out(7, 2);
  EXPECT_EQ(command({0x4a, 0x00}), (Bytes{0x40, 0x01, 0, 0, 0, 0, 2})) << "another data rate";
}

TEST_F(I82077Test, FindsOnlyWhatIsUnderTheHead) {
  EXPECT_EQ(command({0xe6, 0x00, 1, 0, 1, 2, 18, 0x1b, 0xff}), (Bytes{0x40, 0x04, 0x10, 1, 0, 1, 2}));
  EXPECT_EQ(command({0xe6, 0x00, 0, 0, 19, 2, 36, 0x1b, 0xff}), (Bytes{0x40, 0x04, 0, 0, 0, 19, 2}));
  EXPECT_EQ(command({0xe6, 0x00, 0, 0, 1, 3, 18, 0x1b, 0xff}), (Bytes{0x40, 0x04, 0, 0, 0, 1, 2}));
  command({0x13, 0x00, 0x40, 0x00});  // implied seeks
  set_up_dma(0x46, 512);
  EXPECT_EQ(command({0xe6, 0x00, 79, 0, 1, 2, 18, 0x1b, 0xff}), (Bytes{0, 0, 0, 79, 0, 2, 2}));
  EXPECT_EQ(memory(kBuffer, 512), on_disk(79 * 36));
  EXPECT_EQ(command({0xe6, 0x00, 80, 0, 1, 2, 18, 0x1b, 0xff}), (Bytes{0x40, 0x04, 0, 80, 0, 1, 2}));
}

TEST_F(I82077Test, ErrorsOfTheDiskAndOfTheDma) {
  disk.failure = ErrorKind::kIo;
  EXPECT_EQ(command({0xe6, 0x00, 0, 0, 1, 2, 18, 0x1b, 0xff}), (Bytes{0x40, 0x20, 0x20, 0, 0, 1, 2}));
  disk.failure = {};
  disk.is_read_only = true;
  EXPECT_EQ(command({0xc5, 0x00, 0, 0, 1, 2, 18, 0x1b, 0xff}), (Bytes{0x40, 0x02, 0, 0, 0, 1, 2}));
  EXPECT_EQ(command({0x04, 0x00}), (Bytes{0x78}));
  set_up_dma(0x4a, 512);
  EXPECT_EQ(command({0xe6, 0x00, 0, 0, 1, 2, 18, 0x1b, 0xff}), (Bytes{0x40, 0x10, 0, 0, 0, 1, 2})) << "wrong direction";
}

TEST_F(I82077Test, ResetEndsACommandAndItsAnswerIsDropped) {
  send({0xe6, 0x00, 0, 0, 1, 2, 18, 0x1b, 0xff});
  out(2, 0x00);
  out(2, 0x1c);
  set_up_dma(0x46, 512);
  send({0xe6, 0x00, 0, 0, 5, 2, 18, 0x1b, 0xff});
  disk.finish_all();
  EXPECT_EQ(result(), (Bytes{0, 0, 0, 0, 0, 6, 2}));
  EXPECT_EQ(memory(kBuffer, 512), on_disk(4));
}

TEST_F(I82077Test, DmaGateHoldsInterruptsBack) {
  out(2, 0x14);
  send({0x0f, 0x00, 3});
  EXPECT_FALSE(irq);
  out(2, 0x1c);
  EXPECT_TRUE(irq);
}

TEST_F(I82077Test, IsSavedInTheMiddleOfATransfer) {
  command({0x03, 0xdf, 0x03});
  send({0xe6, 0x00, 0, 0, 3, 2, 18, 0x1b, 0xff});
  const auto before_disk = saved();
  disk.finish_all();
  for (unsigned i = 0; i < 100; ++i) EXPECT_EQ(in(5), on_disk(2)[i]);
  const auto inside = saved();
  for (const auto& state : {before_disk, inside}) {
    fdc.reset();
    state::Reader reader(state);
    ASSERT_TRUE(fdc.load(reader));
    EXPECT_EQ(saved(), state);
    disk.finish_all();
    EXPECT_EQ(in(4), 0xf0);
    EXPECT_EQ(in(5), on_disk(2)[state == inside ? 100 : 0]);
  }
}

TEST_F(I82077Test, DamagedStatesAreRefused) {
  const auto refuses = [&](I82077State state) {
    state::Writer writer;
    state::save(writer, std::move(state));
    state::Reader reader(writer.bytes());
    return !fdc.load(reader);
  };
  EXPECT_FALSE(refuses({}));
  EXPECT_TRUE(refuses({.phase = FdcPhase::kExecution}));
  EXPECT_TRUE(refuses({.phase = FdcPhase::kResult}));
  EXPECT_TRUE(refuses({.command = {0x10}}));
  EXPECT_TRUE(refuses({.rate = 4}));
  I82077State scan{.phase = FdcPhase::kExecution, .command = {0x4d, 0, 2, 18, 0x54, 0xf6}};
  scan.transfer.turn = FdcTurn::kDiskReads;
  scan.transfer.kind = FdcKind::kScan;
  EXPECT_TRUE(refuses(scan)) << "a scan with a format's parameters";
}

TEST(FloppyFormat, BySize) {
  EXPECT_EQ(floppy_format(2880), (FloppyFormat{18, 80, 2, 0, FloppyDrive::k1440K}));
  EXPECT_EQ(floppy_format(1440), (FloppyFormat{9, 80, 2, 2, FloppyDrive::k1440K}));
  EXPECT_EQ(floppy_format(5760), (FloppyFormat{36, 80, 2, 3, FloppyDrive::k2880K}));
  EXPECT_EQ(floppy_format(2400).drive, FloppyDrive::k1200K);
  EXPECT_EQ(floppy_format(720).tracks, 40);
  EXPECT_EQ(floppy_format(1000).sectors, 18) << "a part of a floppy";
  EXPECT_EQ(floppy_format(100000).sectors, 36);
  EXPECT_EQ(floppy_format(0), FloppyFormat{});
}

}  // namespace
}  // namespace doppel::hw
