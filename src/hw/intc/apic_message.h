// What travels on the APIC bus, and its encoding as a message-signalled interrupt.
#pragma once

#include <cstdint>
#include <optional>

namespace doppel::hw {

/// Bits 10:8 of the ICR, of redirection entries, local vectors and MSI data alike (SDM 3A 11.6.1).
enum class DeliveryMode : std::uint8_t {
  kFixed = 0,
  kLowestPriority = 1,
  kSmi = 2,
  kRemoteRead = 3,  // obsolete; nothing answers it
  kNmi = 4,
  kInit = 5,
  kStartUp = 6,
  kExtInt = 7,
};
enum class DestinationMode : std::uint8_t { kPhysical = 0, kLogical = 1 };
enum class TriggerMode : std::uint8_t { kEdge = 0, kLevel = 1 };

/// A destination that means everybody, in either mode. Sources with 8-bit destinations write it 0xff.
inline constexpr std::uint32_t kApicBroadcast = 0xffffffff;

/// Vectors below are reserved for exceptions; an APIC refuses them.
inline constexpr std::uint8_t kLowestApicVector = 16;

struct ApicMessage {
  std::uint32_t destination = 0;  // an APIC id, or a logical destination
  DestinationMode destination_mode = DestinationMode::kPhysical;
  DeliveryMode delivery_mode = DeliveryMode::kFixed;
  TriggerMode trigger_mode = TriggerMode::kEdge;
  std::uint8_t vector = 0;  // for kStartUp the page to start at
  bool operator==(const ApicMessage&) const = default;
};

/// Where I/O APICs and devices send their messages. Any thread, no device lock held.
class ApicMessageSink {
 public:
  virtual ~ApicMessageSink() = default;
  virtual void deliver(const ApicMessage& message) = 0;
};

/// Who wants to hear that a level-triggered vector was served: the I/O APICs. Any thread, no device lock held.
class EoiListener {
 public:
  virtual ~EoiListener() = default;
  virtual void end_of_interrupt(std::uint8_t vector) = 0;
};

/// One write as a PCI function makes it (SDM 3A 11.11).
struct MsiWrite {
  std::uint64_t address = 0;
  std::uint32_t data = 0;
  bool operator==(const MsiWrite&) const = default;
};

/// An 8-bit destination, as xAPIC and plain MSIs have it.
constexpr std::uint32_t widen_destination(std::uint32_t destination) {
  return destination == 0xff ? kApicBroadcast : destination;
}

/// Empty if ADDRESS is not 0xFEExxxxx or the data asks for what an MSI cannot do. Destinations above 254 are taken from
/// address bits 11:5 (bits 14:8 of the id, the extended destination of virtual machines) or from bits 63:40 (bits 31:8
/// of the id, KVM's 32-bit format).
std::optional<ApicMessage> decode_msi(MsiWrite msi);
/// The reverse, in KVM's 32-bit format.
MsiWrite encode_msi(const ApicMessage& message);

}  // namespace doppel::hw
