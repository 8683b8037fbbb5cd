// ACPI Machine Language, written as terms that nest like the source would (ACPI 6.4, chapter 20 "AML Specification").
//
//   aml::device("RTC", {aml::name("_HID", aml::eisa_id("PNP0B00")),
//                       aml::name("_CRS", aml::resources({aml::io(0x70, 0x70, 1, 8), aml::irq(8)}))})
//
// Each function returns the finished bytes of one term; the caller's nesting is the only state.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string_view>
#include <vector>

#include "hw/firmware/blob.h"

namespace doppel::hw::aml {

/// One encoded term: an object, an operation or an operand. Integers and names convert where an operand is wanted.
class Term {
 public:
  Term() = default;
  explicit Term(Bytes bytes) : bytes_(std::move(bytes)) {}
  Term(std::uint64_t value);                                    // NOLINT: an integer constant, in its shortest form
  Term(int value) : Term(static_cast<std::uint64_t>(value)) {}  // NOLINT
  Term(unsigned value) : Term(std::uint64_t{value}) {}          // NOLINT
  Term(const char* path);                                       // NOLINT: a name path such as "\\_SB.PCI0" or "^PRQ0"

  [[nodiscard]] const Bytes& bytes() const { return bytes_; }

 private:
  Bytes bytes_;
};

using Terms = std::vector<Term>;

/// Encodes PATH: four-character segments (shorter ones are filled with '_') joined by dots, after '\' or '^'s.
Bytes name_path(std::string_view path);

// Data objects (20.2.3).
Term string(std::string_view text);
Term buffer(std::span<const std::byte> bytes);
/// At most 255 elements.
Term package(const Terms& elements);
/// "PNP0A03" in its compressed integer form (6.1.5).
Term eisa_id(std::string_view id);
Term ones();

// Named objects (20.2.5).
Term name(std::string_view path, const Term& value);
Term scope(std::string_view path, const Terms& terms);
Term device(std::string_view name, const Terms& terms);
enum class Serialize : std::uint8_t { kNo, kYes };
Term method(std::string_view name, unsigned argument_count, const Terms& body, Serialize serialize = Serialize::kNo);
Term processor(std::string_view name, std::uint8_t id, std::uint32_t block_address, std::uint8_t block_length);
Term mutex(std::string_view name);

enum class Space : std::uint8_t { kSystemMemory = 0, kSystemIo = 1, kPciConfig = 2 };
Term operation_region(std::string_view name, Space space, const Term& offset, const Term& length);
enum class Access : std::uint8_t { kAny = 0, kByte = 1, kWord = 2, kDword = 3, kQword = 4 };
enum class Update : std::uint8_t { kPreserve = 0, kWriteAsOnes = 1, kWriteAsZeros = 2 };
/// One element of a Field; an empty name skips its bits.
struct FieldUnit {
  std::string_view name;
  unsigned bits = 0;
};
Term field(std::string_view region, Access access, Update update, std::initializer_list<FieldUnit> units);
/// CreateDWordField (BUFFER, BYTE_OFFSET, NAME).
Term create_dword_field(const Term& buffer, const Term& byte_offset, std::string_view name);

// Operands and operations (20.2.6, 20.2.5.4). The two-operand ones yield their value; store() puts it somewhere.
Term arg(unsigned index);
Term local(unsigned index);
Term store(const Term& source, const Term& target);
Term add(const Term& a, const Term& b);
Term subtract(const Term& a, const Term& b);
Term bit_and(const Term& a, const Term& b);
Term bit_or(const Term& a, const Term& b);
Term bit_xor(const Term& a, const Term& b);
Term shift_left(const Term& a, const Term& count);
Term shift_right(const Term& a, const Term& count);
Term equal(const Term& a, const Term& b);
Term less(const Term& a, const Term& b);
Term greater(const Term& a, const Term& b);
Term logical_and(const Term& a, const Term& b);
Term logical_or(const Term& a, const Term& b);
Term logical_not(const Term& a);
Term increment(const Term& target);
Term index(const Term& object, const Term& position);
Term dereference(const Term& reference);
Term notify(const Term& object, const Term& value);
Term acquire(const Term& mutex);  // waits for ever
Term release(const Term& mutex);
Term call(std::string_view method, const Terms& arguments);

// Statements.
Term if_(const Term& condition, const Terms& then);
Term else_(const Terms& otherwise);
Term while_(const Term& condition, const Terms& body);
Term return_(const Term& value);

// Resource descriptors (6.4); resources() makes the buffer, with its end tag.
Term resources(const Terms& descriptors);
Term io(std::uint16_t min, std::uint16_t max, std::uint8_t alignment, std::uint8_t length);
Term irq(unsigned line);  // edge, active high, exclusive
Term dma(unsigned channel);
enum class Writable : std::uint8_t { kNo, kYes };
Term memory32_fixed(Writable writable, std::uint32_t base, std::uint32_t length);
enum class Trigger : std::uint8_t { kLevel = 0, kEdge = 1 };
enum class Sharing : std::uint8_t { kExclusive = 0, kShared = 1 };
/// Extended interrupt, consumer, active high.
Term interrupt(Trigger trigger, Sharing sharing, std::initializer_list<std::uint32_t> lines);

/// A range of addresses a bridge forwards (fixed ends, positive decode); both ends inclusive.
enum class Range : std::uint8_t { kMemory = 0, kIo = 1, kBusNumbers = 2 };
enum class Cacheable : std::uint8_t { kNo, kYes };
Term word_space(Range range, std::uint16_t min, std::uint16_t max);
Term dword_space(Range range, Cacheable cacheable, std::uint32_t min, std::uint32_t max);
Term qword_space(Range range, Cacheable cacheable, std::uint64_t min, std::uint64_t max);

}  // namespace doppel::hw::aml
