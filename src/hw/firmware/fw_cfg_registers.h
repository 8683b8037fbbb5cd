// The fw_cfg device's ports, keys and DMA control bits (QEMU documentation, "QEMU Firmware Configuration (fw_cfg)
// Device").
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace doppel::hw {

/// Offsets from the device's base port, 0x510.
inline constexpr std::uint16_t kFwCfgBasePort = 0x510;
inline constexpr std::uint16_t kFwCfgPortCount = 12;
inline constexpr std::uint64_t kFwCfgSelector = 0;    // write, 16 bits
inline constexpr std::uint64_t kFwCfgData = 1;        // read, 8 bits
inline constexpr std::uint64_t kFwCfgDmaAddress = 4;  // 64 bits, big-endian; writing the low half starts the transfer

/// Where the same registers stand in the MMIO variant; selector and DMA address are big-endian there.
inline constexpr std::uint64_t kFwCfgMmioData = 0;
inline constexpr std::uint64_t kFwCfgMmioSelector = 8;
inline constexpr std::uint64_t kFwCfgMmioDma = 16;
inline constexpr std::uint64_t kFwCfgMmioSize = 24;

inline constexpr std::string_view kFwCfgSignature = "QEMU";
inline constexpr std::string_view kFwCfgDmaSignature = "QEMU CFG";
inline constexpr std::uint32_t kFwCfgIdTraditional = 1U << 0;
inline constexpr std::uint32_t kFwCfgIdDma = 1U << 1;

/// Items with a fixed number. Integers are little-endian.
enum class FwCfgKey : std::uint16_t {
  kSignature = 0x00,
  kId = 0x01,
  kUuid = 0x02,
  kRamSize = 0x03,        // u64
  kNoGraphic = 0x04,      // u16
  kCpuCount = 0x05,       // u16
  kMachineId = 0x06,      // u16
  kKernelAddress = 0x07,  // u32, as are all addresses and sizes down to kSetupSize
  kKernelSize = 0x08,
  kKernelCmdline = 0x09,
  kInitrdAddress = 0x0a,
  kInitrdSize = 0x0b,
  kBootDevice = 0x0c,  // u16
  kNuma = 0x0d,        // u64 node count, u64 node of each CPU, u64 size of each node
  kBootMenu = 0x0e,    // u16
  kMaxCpus = 0x0f,     // u16: one more than the largest APIC id
  kKernelEntry = 0x10,
  kKernelData = 0x11,
  kInitrdData = 0x12,
  kCmdlineAddress = 0x13,
  kCmdlineSize = 0x14,
  kCmdlineData = 0x15,
  kSetupAddress = 0x16,
  kSetupSize = 0x17,
  kSetupData = 0x18,
  kFileDirectory = 0x19,
  kFirstFile = 0x20,
  kIrq0Override = 0x8002,  // u8
  kHpet = 0x8004,          // count, then one 18-byte row per HPET
};

/// A selector's bits: 14 once asked for writing and is ignored, 15 names the architecture's own keys.
inline constexpr std::uint16_t kFwCfgWriteChannel = 0x4000;
inline constexpr std::uint16_t kFwCfgMaxFiles = 0x4000 - 0x20;

inline constexpr std::size_t kFwCfgNameSize = 56;      // with its terminating zero
inline constexpr std::size_t kFwCfgDirectoryRow = 64;  // size BE32, key BE16, reserved BE16, name

/// The DMA descriptor in guest memory: control BE32, length BE32, address BE64.
inline constexpr std::size_t kFwCfgDescriptorSize = 16;
inline constexpr std::uint32_t kFwCfgDmaError = 1U << 0;
inline constexpr std::uint32_t kFwCfgDmaRead = 1U << 1;
inline constexpr std::uint32_t kFwCfgDmaSkip = 1U << 2;
inline constexpr std::uint32_t kFwCfgDmaSelect = 1U << 3;
inline constexpr std::uint32_t kFwCfgDmaWrite = 1U << 4;

}  // namespace doppel::hw
