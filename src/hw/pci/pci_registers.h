// Configuration space offsets and bits: PCI Local Bus 3.0 chapter 6, PCI-to-PCI Bridge 1.2 chapter 3.
#pragma once

#include <cstdint>

namespace doppel::hw::pci {

// Both header types.
inline constexpr unsigned kVendorId = 0x00;
inline constexpr unsigned kDeviceId = 0x02;
inline constexpr unsigned kCommand = 0x04;
inline constexpr unsigned kStatus = 0x06;
inline constexpr unsigned kRevision = 0x08;
inline constexpr unsigned kClassCode = 0x09;  // three bytes
inline constexpr unsigned kCacheLineSize = 0x0c;
inline constexpr unsigned kLatencyTimer = 0x0d;
inline constexpr unsigned kHeaderType = 0x0e;
inline constexpr unsigned kBar0 = 0x10;
inline constexpr unsigned kCapabilities = 0x34;
inline constexpr unsigned kInterruptLine = 0x3c;
inline constexpr unsigned kInterruptPin = 0x3d;
inline constexpr unsigned kFirstFree = 0x40;  // the device's own registers and capabilities

// Type 0.
inline constexpr unsigned kSubsystemVendorId = 0x2c;
inline constexpr unsigned kSubsystemId = 0x2e;
inline constexpr unsigned kRomBar = 0x30;

// Type 1.
inline constexpr unsigned kPrimaryBus = 0x18;
inline constexpr unsigned kSecondaryBus = 0x19;
inline constexpr unsigned kSubordinateBus = 0x1a;
inline constexpr unsigned kSecondaryLatency = 0x1b;
inline constexpr unsigned kIoBase = 0x1c;
inline constexpr unsigned kIoLimit = 0x1d;
inline constexpr unsigned kSecondaryStatus = 0x1e;
inline constexpr unsigned kMemoryBase = 0x20;
inline constexpr unsigned kMemoryLimit = 0x22;
inline constexpr unsigned kPrefetchBase = 0x24;
inline constexpr unsigned kPrefetchLimit = 0x26;
inline constexpr unsigned kPrefetchBaseHigh = 0x28;
inline constexpr unsigned kPrefetchLimitHigh = 0x2c;
inline constexpr unsigned kBridgeRomBar = 0x38;
inline constexpr unsigned kBridgeControl = 0x3e;

inline constexpr std::uint16_t kCommandIo = 0x0001;
inline constexpr std::uint16_t kCommandMemory = 0x0002;
inline constexpr std::uint16_t kCommandMaster = 0x0004;
inline constexpr std::uint16_t kCommandIntxDisable = 0x0400;
/// I/O, memory, master, parity response, SERR#, INTx disable.
inline constexpr std::uint16_t kCommandWritable = 0x0547;

inline constexpr std::uint16_t kStatusInterrupt = 0x0008;
inline constexpr std::uint16_t kStatusCapabilities = 0x0010;
inline constexpr std::uint16_t kStatusDevselMedium = 0x0200;
/// Parity, SERR#, master abort, target aborts: cleared by writing ones.
inline constexpr std::uint16_t kStatusClearable = 0xf900;

inline constexpr std::uint8_t kHeaderTypeBridge = 0x01;
inline constexpr std::uint8_t kHeaderMultifunction = 0x80;

inline constexpr std::uint32_t kBarIo = 0x1;
inline constexpr std::uint32_t kBarMemory64 = 0x4;
inline constexpr std::uint32_t kBarPrefetchable = 0x8;
inline constexpr std::uint32_t kRomEnable = 0x1;

inline constexpr std::uint16_t kBridgeControlVga = 0x0008;
inline constexpr std::uint16_t kBridgeControlReset = 0x0040;

inline constexpr std::uint8_t kCapabilityPowerManagement = 0x01;
inline constexpr std::uint8_t kCapabilitySlotId = 0x04;
inline constexpr std::uint8_t kCapabilityMsi = 0x05;
inline constexpr std::uint8_t kCapabilityVendor = 0x09;
inline constexpr std::uint8_t kCapabilityMsix = 0x11;

}  // namespace doppel::hw::pci
