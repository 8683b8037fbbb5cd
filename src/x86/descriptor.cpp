#include "x86/descriptor.h"

#include "base/bits.h"

namespace doppel::x86 {
namespace {

constexpr std::uint64_t kPageGranule = 0xfff;

std::uint64_t flag(bool on, unsigned n) {
  return on ? bit(n) : 0;
}

}  // namespace

std::uint32_t segment_attributes(const Segment& segment) {
  return static_cast<std::uint32_t>((segment.type & 0xfU) << 8 | flag(segment.code_or_data, 12) |
                                    (segment.dpl & 3U) << 13 | flag(segment.present, 15) | flag(segment.available, 20) |
                                    flag(segment.long_mode, 21) | flag(segment.default_big, 22) |
                                    flag(segment.granularity, 23));
}

void set_segment_attributes(Segment& segment, std::uint32_t attributes) {
  segment.type = static_cast<std::uint8_t>(bits(attributes, 11, 8));
  segment.code_or_data = test_bit(attributes, 12);
  segment.dpl = static_cast<std::uint8_t>(bits(attributes, 14, 13));
  segment.present = test_bit(attributes, 15);
  segment.available = test_bit(attributes, 20);
  segment.long_mode = test_bit(attributes, 21);
  segment.default_big = test_bit(attributes, 22);
  segment.granularity = test_bit(attributes, 23);
}

std::uint32_t segment_access_rights(const Segment& segment) {
  const std::uint32_t attributes = segment_attributes(segment);
  return bits(attributes, 15, 8) | bits(attributes, 23, 20) << 12 | static_cast<std::uint32_t>(segment.unusable) << 16;
}

void set_segment_access_rights(Segment& segment, std::uint32_t rights) {
  set_segment_attributes(segment, bits(rights, 7, 0) << 8 | bits(rights, 15, 12) << 20);
  segment.unusable = test_bit(rights, 16);
}

std::uint64_t encode_descriptor(const Segment& segment) {
  const std::uint64_t limit = segment.granularity ? segment.limit >> 12 : segment.limit;
  const std::uint64_t attributes = segment_attributes(segment);
  return bits(limit, 15, 0) | bits(segment.base, 23, 0) << 16 | attributes << 32 | bits(limit, 19, 16) << 48 |
         bits(segment.base, 31, 24) << 56;
}

Segment decode_descriptor(std::uint64_t descriptor, std::uint16_t selector) {
  Segment segment;
  segment.selector = selector;
  segment.base = bits(descriptor, 39, 16) | bits(descriptor, 63, 56) << 24;
  set_segment_attributes(segment, static_cast<std::uint32_t>(descriptor >> 32));
  const std::uint64_t limit = bits(descriptor, 15, 0) | bits(descriptor, 51, 48) << 16;
  segment.limit = static_cast<std::uint32_t>(segment.granularity ? limit << 12 | kPageGranule : limit);
  return segment;
}

std::array<std::uint64_t, 2> encode_system_descriptor64(const Segment& segment) {
  return {encode_descriptor(segment), bits(segment.base, 63, 32)};
}

Segment decode_system_descriptor64(std::array<std::uint64_t, 2> descriptor, std::uint16_t selector) {
  Segment segment = decode_descriptor(descriptor[0], selector);
  segment.base |= descriptor[1] << 32;
  return segment;
}

std::uint64_t encode_gate(const Gate& gate) {
  return bits(gate.offset, 15, 0) | std::uint64_t{gate.selector} << 16 | std::uint64_t{gate.parameters & 0x1fU} << 32 |
         std::uint64_t{gate.type & 0xfU} << 40 | std::uint64_t{gate.dpl & 3U} << 45 | flag(gate.present, 47) |
         bits(gate.offset, 31, 16) << 48;
}

Gate decode_gate(std::uint64_t descriptor) {
  Gate gate;
  gate.offset = bits(descriptor, 15, 0) | bits(descriptor, 63, 48) << 16;
  gate.selector = static_cast<std::uint16_t>(bits(descriptor, 31, 16));
  gate.parameters = static_cast<std::uint8_t>(bits(descriptor, 36, 32));
  gate.type = static_cast<std::uint8_t>(bits(descriptor, 43, 40));
  gate.dpl = static_cast<std::uint8_t>(bits(descriptor, 46, 45));
  gate.present = test_bit(descriptor, 47);
  return gate;
}

std::array<std::uint64_t, 2> encode_gate64(const Gate& gate) {
  Gate low = gate;
  low.parameters = static_cast<std::uint8_t>(gate.ist & 7U);
  return {encode_gate(low), bits(gate.offset, 63, 32)};
}

Gate decode_gate64(std::array<std::uint64_t, 2> descriptor) {
  Gate gate = decode_gate(descriptor[0]);
  gate.offset |= descriptor[1] << 32;
  gate.ist = static_cast<std::uint8_t>(gate.parameters & 7U);
  gate.parameters = 0;
  return gate;
}

Segment real_mode_segment(std::uint16_t selector) {
  Segment segment;
  segment.base = std::uint64_t{selector} << 4;
  segment.selector = selector;
  segment.type = segment_type::kWritable | segment_type::kAccessed;
  return segment;
}

Segment flat_segment(std::uint16_t selector, bool code, bool long_mode) {
  Segment segment;
  segment.limit = 0xffffffff;
  segment.selector = selector;
  segment.type = static_cast<std::uint8_t>(segment_type::kWritable | segment_type::kAccessed |
                                           (code ? unsigned{segment_type::kCode} : 0U));
  segment.default_big = !long_mode;
  segment.long_mode = code && long_mode;
  segment.granularity = true;
  return segment;
}

}  // namespace doppel::x86
