#include "hw/firmware/aml.h"

#include "base/bits.h"
#include "base/text.h"

namespace doppel::hw::aml {

namespace {

/// First bytes of terms (ACPI 6.4, table 20.2). Those above 0xff follow the extension prefix 5b.
enum Opcode : std::uint16_t {
  kZeroOp = 0x00,
  kOneOp = 0x01,
  kNameOp = 0x08,
  kBytePrefix = 0x0a,
  kWordPrefix = 0x0b,
  kDwordPrefix = 0x0c,
  kStringPrefix = 0x0d,
  kQwordPrefix = 0x0e,
  kScopeOp = 0x10,
  kBufferOp = 0x11,
  kPackageOp = 0x12,
  kMethodOp = 0x14,
  kDualNamePrefix = 0x2e,
  kMultiNamePrefix = 0x2f,
  kLocal0Op = 0x60,
  kArg0Op = 0x68,
  kStoreOp = 0x70,
  kAddOp = 0x72,
  kSubtractOp = 0x74,
  kIncrementOp = 0x75,
  kShiftLeftOp = 0x79,
  kShiftRightOp = 0x7a,
  kAndOp = 0x7b,
  kOrOp = 0x7d,
  kXorOp = 0x7f,
  kDerefOfOp = 0x83,
  kNotifyOp = 0x86,
  kIndexOp = 0x88,
  kCreateDwordFieldOp = 0x8a,
  kLandOp = 0x90,
  kLorOp = 0x91,
  kLnotOp = 0x92,
  kLequalOp = 0x93,
  kLgreaterOp = 0x94,
  kLlessOp = 0x95,
  kIfOp = 0xa0,
  kElseOp = 0xa1,
  kWhileOp = 0xa2,
  kReturnOp = 0xa4,
  kOnesOp = 0xff,
  kMutexOp = 0x5b01,
  kAcquireOp = 0x5b23,
  kReleaseOp = 0x5b27,
  kOpRegionOp = 0x5b80,
  kFieldOp = 0x5b81,
  kDeviceOp = 0x5b82,
  kProcessorOp = 0x5b83,
};

constexpr std::uint8_t kEndTag = 0x79;
constexpr std::size_t kSegmentLength = 4;

void put_opcode(ByteWriter& writer, Opcode opcode) {
  if (opcode > 0xff) writer.u8(opcode >> 8);
  writer.u8(opcode & 0xff);
}

/// A package length counts itself: one byte up to 63, else a count of further bytes and 4 + 8n bits (20.2.4).
void put_package_length(ByteWriter& writer, std::size_t content) {
  unsigned extra = 0;
  if (content + 1 > 0x3f) {
    extra = 1;
    while (extra < 3 && content + 1 + extra >= (std::size_t{1} << (4 + 8 * extra))) ++extra;
  }
  const std::size_t length = content + 1 + extra;
  if (extra == 0) {
    writer.u8(length);
    return;
  }
  writer.u8((extra << 6) | (length & 0xf));
  for (unsigned i = 0; i < extra; ++i) writer.u8((length >> (4 + 8 * i)) & 0xff);
}

Term packaged(Opcode opcode, const Bytes& content) {
  ByteWriter writer;
  put_opcode(writer, opcode);
  put_package_length(writer, content.size());
  return Term(writer.bytes(content).take());
}

void put_terms(ByteWriter& writer, const Terms& terms) {
  for (const Term& term : terms) writer.bytes(term.bytes());
}

Term operation(Opcode opcode, std::initializer_list<const Term*> operands) {
  ByteWriter writer;
  put_opcode(writer, opcode);
  for (const Term* operand : operands) writer.bytes(operand->bytes());
  return Term(writer.take());
}

/// Two operands and no target: the result is only the term's value.
Term binary(Opcode opcode, const Term& a, const Term& b) {
  const Term no_target(std::uint64_t{0});
  return operation(opcode, {&a, &b, &no_target});
}

}  // namespace

Term::Term(std::uint64_t value) {
  ByteWriter writer;
  if (value <= 1)
    writer.u8(value == 0 ? kZeroOp : kOneOp);
  else if (value <= 0xff)
    writer.u8(kBytePrefix).u8(value);
  else if (value <= 0xffff)
    writer.u8(kWordPrefix).u16(value);
  else if (value <= 0xffffffff)
    writer.u8(kDwordPrefix).u32(value);
  else
    writer.u8(kQwordPrefix).u64(value);
  bytes_ = writer.take();
}

Term::Term(const char* path) : bytes_(name_path(path)) {}

Bytes name_path(std::string_view path) {
  ByteWriter writer;
  while (!path.empty() && (path.front() == '\\' || path.front() == '^')) {
    writer.u8(static_cast<unsigned char>(path.front()));
    path.remove_prefix(1);
  }
  const auto segments = split(path, '.');
  if (segments.empty()) return writer.u8(0).take();
  if (segments.size() == 2) writer.u8(kDualNamePrefix);
  if (segments.size() > 2) writer.u8(kMultiNamePrefix).u8(segments.size());
  for (const std::string_view segment : segments) writer.text(segment, kSegmentLength, '_');
  return writer.take();
}

Term string(std::string_view text) {
  return Term(ByteWriter().u8(kStringPrefix).text(text, text.size()).u8(0).take());
}

Term buffer(std::span<const std::byte> bytes) {
  return packaged(kBufferOp, ByteWriter().bytes(Term(bytes.size()).bytes()).bytes(bytes).take());
}

Term package(const Terms& elements) {
  ByteWriter content;
  content.u8(elements.size());
  put_terms(content, elements);
  return packaged(kPackageOp, content.view());
}

Term eisa_id(std::string_view id) {
  const auto hex = [](char digit) {
    return static_cast<std::uint32_t>(digit <= '9' ? digit - '0' : (digit | 0x20) - 'a' + 10);
  };
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < 3; ++i) value = (value << 5) | (static_cast<std::uint32_t>(id[i]) & 0x1f);
  for (std::size_t i = 3; i < 7; ++i) value = (value << 4) | hex(id[i]);
  return Term(ByteWriter().u8(kDwordPrefix).u32(byte_swap(value)).take());
}

Term ones() {
  return Term(ByteWriter().u8(kOnesOp).take());
}

Term name(std::string_view path, const Term& value) {
  return Term(ByteWriter().u8(kNameOp).bytes(name_path(path)).bytes(value.bytes()).take());
}

Term scope(std::string_view path, const Terms& terms) {
  ByteWriter content;
  put_terms(content.bytes(name_path(path)), terms);
  return packaged(kScopeOp, content.view());
}

Term device(std::string_view name, const Terms& terms) {
  ByteWriter content;
  put_terms(content.bytes(name_path(name)), terms);
  return packaged(kDeviceOp, content.view());
}

Term method(std::string_view name, unsigned argument_count, const Terms& body, Serialize serialize) {
  ByteWriter content;
  content.bytes(name_path(name)).u8(argument_count | (serialize == Serialize::kYes ? 8U : 0U));
  put_terms(content, body);
  return packaged(kMethodOp, content.view());
}

Term processor(std::string_view name, std::uint8_t id, std::uint32_t block_address, std::uint8_t block_length) {
  ByteWriter content;
  content.bytes(name_path(name)).u8(id).u32(block_address).u8(block_length);
  return packaged(kProcessorOp, content.view());
}

Term mutex(std::string_view name) {
  ByteWriter writer;
  put_opcode(writer, kMutexOp);
  return Term(writer.bytes(name_path(name)).u8(0).take());
}

Term operation_region(std::string_view name, Space space, const Term& offset, const Term& length) {
  ByteWriter writer;
  put_opcode(writer, kOpRegionOp);
  writer.bytes(name_path(name)).u8(static_cast<std::uint8_t>(space));
  return Term(writer.bytes(offset.bytes()).bytes(length.bytes()).take());
}

Term field(std::string_view region, Access access, Update update, std::initializer_list<FieldUnit> units) {
  ByteWriter content;
  content.bytes(name_path(region));
  content.u8(static_cast<unsigned>(access) | (static_cast<unsigned>(update) << 5));
  for (const FieldUnit& unit : units) {
    if (unit.name.empty())
      content.u8(0);
    else
      content.text(unit.name, kSegmentLength, '_');
    // The same encoding as a package length, but of the bare number of bits.
    if (unit.bits <= 0x3f)
      content.u8(unit.bits);
    else
      content.u8(0x40 | (unit.bits & 0xf)).u8(unit.bits >> 4);
  }
  return packaged(kFieldOp, content.view());
}

Term create_dword_field(const Term& buffer, const Term& byte_offset, std::string_view name) {
  const Term target(name_path(name));
  return operation(kCreateDwordFieldOp, {&buffer, &byte_offset, &target});
}

Term arg(unsigned index) {
  return Term(ByteWriter().u8(kArg0Op + index).take());
}
Term local(unsigned index) {
  return Term(ByteWriter().u8(kLocal0Op + index).take());
}
Term store(const Term& source, const Term& target) {
  return operation(kStoreOp, {&source, &target});
}
Term add(const Term& a, const Term& b) {
  return binary(kAddOp, a, b);
}
Term subtract(const Term& a, const Term& b) {
  return binary(kSubtractOp, a, b);
}
Term bit_and(const Term& a, const Term& b) {
  return binary(kAndOp, a, b);
}
Term bit_or(const Term& a, const Term& b) {
  return binary(kOrOp, a, b);
}
Term bit_xor(const Term& a, const Term& b) {
  return binary(kXorOp, a, b);
}
Term shift_left(const Term& a, const Term& count) {
  return binary(kShiftLeftOp, a, count);
}
Term shift_right(const Term& a, const Term& count) {
  return binary(kShiftRightOp, a, count);
}
Term equal(const Term& a, const Term& b) {
  return operation(kLequalOp, {&a, &b});
}
Term less(const Term& a, const Term& b) {
  return operation(kLlessOp, {&a, &b});
}
Term greater(const Term& a, const Term& b) {
  return operation(kLgreaterOp, {&a, &b});
}
Term logical_and(const Term& a, const Term& b) {
  return operation(kLandOp, {&a, &b});
}
Term logical_or(const Term& a, const Term& b) {
  return operation(kLorOp, {&a, &b});
}
Term logical_not(const Term& a) {
  return operation(kLnotOp, {&a});
}
Term increment(const Term& target) {
  return operation(kIncrementOp, {&target});
}
Term index(const Term& object, const Term& position) {
  return binary(kIndexOp, object, position);
}
Term dereference(const Term& reference) {
  return operation(kDerefOfOp, {&reference});
}
Term notify(const Term& object, const Term& value) {
  return operation(kNotifyOp, {&object, &value});
}
Term release(const Term& mutex) {
  return operation(kReleaseOp, {&mutex});
}

Term acquire(const Term& mutex) {
  const Term for_ever(ByteWriter().u16(0xffff).take());
  return operation(kAcquireOp, {&mutex, &for_ever});
}

Term call(std::string_view method, const Terms& arguments) {
  ByteWriter writer;
  put_terms(writer.bytes(name_path(method)), arguments);
  return Term(writer.take());
}

Term if_(const Term& condition, const Terms& then) {
  ByteWriter content;
  put_terms(content.bytes(condition.bytes()), then);
  return packaged(kIfOp, content.view());
}

Term else_(const Terms& otherwise) {
  ByteWriter content;
  put_terms(content, otherwise);
  return packaged(kElseOp, content.view());
}

Term while_(const Term& condition, const Terms& body) {
  ByteWriter content;
  put_terms(content.bytes(condition.bytes()), body);
  return packaged(kWhileOp, content.view());
}

Term return_(const Term& value) {
  return operation(kReturnOp, {&value});
}

Term resources(const Terms& descriptors) {
  ByteWriter content;
  put_terms(content, descriptors);
  content.u8(kEndTag).u8(0);  // a checksum of zero stands for "not computed"
  return buffer(content.view());
}

Term io(std::uint16_t min, std::uint16_t max, std::uint8_t alignment, std::uint8_t length) {
  constexpr std::uint8_t kDecode16 = 1;
  return Term(ByteWriter().u8(0x47).u8(kDecode16).u16(min).u16(max).u8(alignment).u8(length).take());
}

Term irq(unsigned line) {
  return Term(ByteWriter().u8(0x22).u16(1U << line).take());
}

Term dma(unsigned channel) {
  return Term(ByteWriter().u8(0x2a).u8(1U << channel).u8(0).take());  // 8 bits, compatible timing
}

Term memory32_fixed(Writable writable, std::uint32_t base, std::uint32_t length) {
  return Term(ByteWriter().u8(0x86).u16(9).u8(writable == Writable::kYes ? 1 : 0).u32(base).u32(length).take());
}

Term interrupt(Trigger trigger, Sharing sharing, std::initializer_list<std::uint32_t> lines) {
  ByteWriter writer;
  const unsigned flags = 1U | (static_cast<unsigned>(trigger) << 1) | (static_cast<unsigned>(sharing) << 3);
  writer.u8(0x89).u16(2 + 4 * lines.size()).u8(flags).u8(lines.size());
  for (const std::uint32_t line : lines) writer.u32(line);
  return Term(writer.take());
}

namespace {

/// The part common to word, dword and qword descriptors: both ends fixed, positive decode, bus-type specific flags.
void put_space_head(ByteWriter& writer, std::uint8_t tag, std::size_t width, Range range, Cacheable cacheable) {
  constexpr std::uint8_t kBothEndsFixed = 0x0c;
  std::uint8_t specific = 0;
  if (range == Range::kMemory) specific = cacheable == Cacheable::kYes ? 0x03 : 0x01;  // read-write
  if (range == Range::kIo) specific = 0x03;                                            // the entire range
  writer.u8(tag).u16(3 + 5 * width).u8(static_cast<std::uint8_t>(range)).u8(kBothEndsFixed).u8(specific);
}

}  // namespace

Term word_space(Range range, std::uint16_t min, std::uint16_t max) {
  ByteWriter writer;
  put_space_head(writer, 0x88, 2, range, Cacheable::kNo);
  return Term(writer.u16(0).u16(min).u16(max).u16(0).u16(static_cast<std::uint16_t>(max - min + 1)).take());
}

Term dword_space(Range range, Cacheable cacheable, std::uint32_t min, std::uint32_t max) {
  ByteWriter writer;
  put_space_head(writer, 0x87, 4, range, cacheable);
  return Term(writer.u32(0).u32(min).u32(max).u32(0).u32(max - min + 1).take());
}

Term qword_space(Range range, Cacheable cacheable, std::uint64_t min, std::uint64_t max) {
  ByteWriter writer;
  put_space_head(writer, 0x8a, 8, range, cacheable);
  return Term(writer.u64(0).u64(min).u64(max).u64(0).u64(max - min + 1).take());
}

}  // namespace doppel::hw::aml
