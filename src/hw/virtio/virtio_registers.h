// Numbers of the Virtual I/O Device specification 1.2, with the sections that define them.
#pragma once

#include <cstdint>

namespace doppel::hw::virtio {

// Device types, section 5.
inline constexpr std::uint16_t kTypeBlock = 2;
inline constexpr std::uint16_t kTypeScsi = 8;

// Device status, section 2.1.
inline constexpr std::uint8_t kAcknowledge = 0x01;
inline constexpr std::uint8_t kDriver = 0x02;
inline constexpr std::uint8_t kDriverOk = 0x04;
inline constexpr std::uint8_t kFeaturesOk = 0x08;
inline constexpr std::uint8_t kNeedsReset = 0x40;
inline constexpr std::uint8_t kFailed = 0x80;

/// Reserved feature bits, section 6; as masks.
namespace feature {
inline constexpr std::uint64_t kAnyLayout = 1ULL << 27U;  // legacy interface only
inline constexpr std::uint64_t kIndirect = 1ULL << 28U;
inline constexpr std::uint64_t kEventIndex = 1ULL << 29U;
inline constexpr std::uint64_t kVersion1 = 1ULL << 32U;
inline constexpr std::uint64_t kRingPacked = 1ULL << 34U;
/// What the legacy interface can show.
inline constexpr std::uint64_t kLegacyMask = 0xffff'ffff;
}  // namespace feature

/// Descriptor flags, sections 2.7.5 and 2.8.
namespace descriptor {
inline constexpr std::uint16_t kNext = 0x0001;
inline constexpr std::uint16_t kWrite = 0x0002;
inline constexpr std::uint16_t kIndirect = 0x0004;
inline constexpr std::uint16_t kAvailable = 0x0080;  // packed rings
inline constexpr std::uint16_t kUsed = 0x8000;       // packed rings
inline constexpr unsigned kSize = 16;
}  // namespace descriptor

/// Interrupt status, section 4.1.4.5.
namespace isr {
inline constexpr std::uint8_t kQueue = 0x01;
inline constexpr std::uint8_t kConfig = 0x02;
}  // namespace isr

inline constexpr std::uint16_t kNoVector = 0xffff;

/// Capabilities of virtio over PCI, section 4.1.4.
namespace capability {
inline constexpr std::uint8_t kCommon = 1;
inline constexpr std::uint8_t kNotify = 2;
inline constexpr std::uint8_t kIsr = 3;
inline constexpr std::uint8_t kDevice = 4;
inline constexpr std::uint8_t kPciAccess = 5;
}  // namespace capability

/// The common configuration structure, section 4.1.4.3: offsets.
enum class Common : std::uint8_t {
  kDeviceFeatureSelect = 0,
  kDeviceFeature = 4,
  kDriverFeatureSelect = 8,
  kDriverFeature = 12,
  kConfigVector = 16,
  kQueueCount = 18,
  kDeviceStatus = 20,
  kConfigGeneration = 21,
  kQueueSelect = 22,
  kQueueSize = 24,
  kQueueVector = 26,
  kQueueEnable = 28,
  kQueueNotifyOffset = 30,
  kQueueDescriptors = 32,
  kQueueDriver = 40,
  kQueueDevice = 48,
};
inline constexpr unsigned kCommonSize = 56;

/// The legacy interface's registers, section 4.1.4.10: offsets.
enum class Legacy : std::uint8_t {
  kDeviceFeatures = 0,
  kDriverFeatures = 4,
  kQueueAddress = 8,
  kQueueSize = 12,
  kQueueSelect = 14,
  kQueueNotify = 16,
  kDeviceStatus = 18,
  kIsrStatus = 19,
  kConfigVector = 20,  // these two only while MSI-X is enabled
  kQueueVector = 22,
};
inline constexpr unsigned kLegacyHeader = 20;
inline constexpr unsigned kLegacyHeaderMsix = 24;
inline constexpr unsigned kLegacyPageShift = 12;

}  // namespace doppel::hw::virtio
