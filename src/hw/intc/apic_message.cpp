#include "hw/intc/apic_message.h"

#include "base/bits.h"

namespace doppel::hw {

namespace {

constexpr std::uint64_t kMsiWindow = 0xfee;  // address bits 31:20
constexpr unsigned kLogicalBit = 2;
constexpr unsigned kRedirectionHintBit = 3;
constexpr std::uint32_t kDataAssert = 1U << 14U;
constexpr unsigned kDataLevelBit = 15;

}  // namespace

std::optional<ApicMessage> decode_msi(MsiWrite msi) {
  if (bits(msi.address, 31, 20) != kMsiWindow || bits(msi.address, 39, 32) != 0) return std::nullopt;
  ApicMessage message;
  const std::uint64_t high = bits(msi.address, 11, 5) | bits(msi.address, 63, 40);
  message.destination = widen_destination(static_cast<std::uint32_t>(high << 8U | bits(msi.address, 19, 12)));
  message.destination_mode =
      test_bit(msi.address, kLogicalBit) ? DestinationMode::kLogical : DestinationMode::kPhysical;
  message.delivery_mode = static_cast<DeliveryMode>(bits(msi.data, 10, 8));
  message.trigger_mode = test_bit(msi.data, kDataLevelBit) ? TriggerMode::kLevel : TriggerMode::kEdge;
  message.vector = static_cast<std::uint8_t>(msi.data);
  if (message.delivery_mode == DeliveryMode::kRemoteRead || message.delivery_mode == DeliveryMode::kStartUp)
    return std::nullopt;
  if (message.delivery_mode == DeliveryMode::kFixed && test_bit(msi.address, kRedirectionHintBit))
    message.delivery_mode = DeliveryMode::kLowestPriority;
  return message;
}

MsiWrite encode_msi(const ApicMessage& message) {
  const std::uint64_t destination = message.destination == kApicBroadcast ? 0xff : message.destination;
  MsiWrite msi;
  msi.address = kMsiWindow << 20U | bits(destination, 31, 8) << 40U | bits(destination, 7, 0) << 12U;
  msi.address = with_bit(msi.address, kLogicalBit, message.destination_mode == DestinationMode::kLogical);
  msi.address = with_bit(msi.address, kRedirectionHintBit, message.delivery_mode == DeliveryMode::kLowestPriority);
  msi.data = message.vector | static_cast<std::uint32_t>(message.delivery_mode) << 8U | kDataAssert;
  msi.data = with_bit(msi.data, kDataLevelBit, message.trigger_mode == TriggerMode::kLevel);
  return msi;
}

}  // namespace doppel::hw
