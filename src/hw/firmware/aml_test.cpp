#include "hw/firmware/aml.h"

#include <gtest/gtest.h>

namespace doppel::hw {
namespace {

using aml::Term;

/// "70 0a 05" for what a term encodes to.
std::string hex(const Bytes& bytes) {
  std::string text;
  for (const std::byte byte : bytes)
    text += fmt::format("{}{:02x}", text.empty() ? "" : " ", std::to_integer<int>(byte));
  return text;
}
std::string hex(const Term& term) {
  return hex(term.bytes());
}

TEST(Aml, IntegersTakeTheirShortestForm) {
  EXPECT_EQ(hex(Term(0)), "00");
  EXPECT_EQ(hex(Term(1)), "01");
  EXPECT_EQ(hex(Term(2)), "0a 02");
  EXPECT_EQ(hex(Term(0x100)), "0b 00 01");
  EXPECT_EQ(hex(Term(0x10000)), "0c 00 00 01 00");
  EXPECT_EQ(hex(Term(std::uint64_t{1} << 32)), "0e 00 00 00 00 01 00 00 00");
  EXPECT_EQ(hex(aml::ones()), "ff");
}

TEST(Aml, NamePaths) {
  EXPECT_EQ(hex(aml::name_path("ABCD")), "41 42 43 44");
  EXPECT_EQ(hex(aml::name_path("A")), "41 5f 5f 5f");
  EXPECT_EQ(hex(aml::name_path("\\")), "5c 00");
  EXPECT_EQ(hex(aml::name_path("^^A")), "5e 5e 41 5f 5f 5f");
  EXPECT_EQ(hex(aml::name_path("\\_SB.PCI0")), "5c 2e 5f 53 42 5f 50 43 49 30");
  EXPECT_EQ(hex(aml::name_path("A.B.C")), "2f 03 41 5f 5f 5f 42 5f 5f 5f 43 5f 5f 5f");
}

TEST(Aml, EisaIdsAreCompressed) {
  EXPECT_EQ(hex(aml::eisa_id("PNP0A03")), "0c 41 d0 0a 03");
  EXPECT_EQ(hex(aml::eisa_id("PNP0C0F")), "0c 41 d0 0c 0f");
}

/// The package length of a term with N bytes of content is right at each change of its own length.
TEST(Aml, PackageLengthsAtTheirEdges) {
  const auto scope_head = [](std::size_t content) {
    // Scope(A...) spends four bytes on its name.
    const Term filler(Bytes(content - 4));
    const Bytes bytes = aml::scope("ABCD", {filler}).bytes();
    return hex(Bytes(bytes.begin() + 1, bytes.begin() + 5));
  };
  EXPECT_EQ(scope_head(0x3e), "3f 41 42 43");
  EXPECT_EQ(scope_head(0x3f), "41 04 41 42") << "0x41 bytes with two of length";
  EXPECT_EQ(scope_head(0xffd), "4f ff 41 42");
  EXPECT_EQ(scope_head(0xffe), "81 00 01 41") << "0x1001 bytes with three of length";
  EXPECT_EQ(scope_head(0xffffc), "8f ff ff 41");
  EXPECT_EQ(scope_head(0xffffd), "c1 00 00 01");
}

TEST(Aml, NamedObjects) {
  EXPECT_EQ(hex(aml::name("_ADR", 0)), "08 5f 41 44 52 00");
  EXPECT_EQ(hex(aml::string("ab")), "0d 61 62 00");
  EXPECT_EQ(hex(aml::package({0, 1, 2})), "12 06 03 00 01 0a 02");
  EXPECT_EQ(hex(aml::device("A", {})), "5b 82 05 41 5f 5f 5f");
  EXPECT_EQ(hex(aml::method("M", 2, {aml::return_(aml::arg(1))}, aml::Serialize::kYes)), "14 08 4d 5f 5f 5f 0a a4 69");
  EXPECT_EQ(hex(aml::processor("C000", 3, 0, 0)), "5b 83 0b 43 30 30 30 03 00 00 00 00 00");
  EXPECT_EQ(hex(aml::mutex("LOCK")), "5b 01 4c 4f 43 4b 00");
}

TEST(Aml, FieldsAndRegions) {
  EXPECT_EQ(hex(aml::operation_region("REGN", aml::Space::kSystemIo, 0x505, 1)), "5b 80 52 45 47 4e 01 0b 05 05 01");
  EXPECT_EQ(hex(aml::field("REGN", aml::Access::kByte, aml::Update::kPreserve, {{"AAAA", 8}, {"", 100}, {"BBBB", 63}})),
            "5b 81 13 52 45 47 4e 01 41 41 41 41 08 00 44 06 42 42 42 42 3f");
  EXPECT_EQ(hex(aml::create_dword_field(aml::arg(0), 5, "IRQN")), "8a 68 0a 05 49 52 51 4e");
}

TEST(Aml, OperationsAndStatements) {
  EXPECT_EQ(hex(aml::store(aml::local(0), aml::arg(6))), "70 60 6e");
  EXPECT_EQ(hex(aml::bit_and(aml::arg(0), 0x80)), "7b 68 0a 80 00");
  EXPECT_EQ(hex(aml::add(1, 1)), "72 01 01 00");
  EXPECT_EQ(hex(aml::subtract(1, 1)), "74 01 01 00");
  EXPECT_EQ(hex(aml::bit_or(1, 1)), "7d 01 01 00");
  EXPECT_EQ(hex(aml::bit_xor(1, 1)), "7f 01 01 00");
  EXPECT_EQ(hex(aml::shift_left(1, 1)), "79 01 01 00");
  EXPECT_EQ(hex(aml::shift_right(1, 1)), "7a 01 01 00");
  EXPECT_EQ(hex(aml::logical_not(aml::equal(0, 1))), "92 93 00 01");
  EXPECT_EQ(hex(aml::logical_or(aml::less(0, 1), aml::greater(0, 1))), "91 95 00 01 94 00 01");
  EXPECT_EQ(hex(aml::logical_and(0, 1)), "90 00 01");
  EXPECT_EQ(hex(aml::if_(1, {aml::return_(0)})), "a0 04 01 a4 00");
  EXPECT_EQ(hex(aml::else_({aml::return_(0)})), "a1 03 a4 00");
  EXPECT_EQ(hex(aml::while_(aml::less(aml::local(0), 1), {aml::increment(aml::local(0))})), "a2 06 95 60 01 75 60");
  EXPECT_EQ(hex(aml::dereference(aml::index(aml::local(1), 0))), "83 88 61 00 00");
  EXPECT_EQ(hex(aml::notify("PWRB", 0x80)), "86 50 57 52 42 0a 80");
  EXPECT_EQ(hex(aml::acquire("LOCK")), "5b 23 4c 4f 43 4b ff ff");
  EXPECT_EQ(hex(aml::release("LOCK")), "5b 27 4c 4f 43 4b");
  EXPECT_EQ(hex(aml::call("METH", {1, 0})), "4d 45 54 48 01 00");
}

TEST(Aml, Resources) {
  EXPECT_EQ(hex(aml::io(0x3f8, 0x3f8, 1, 8)), "47 01 f8 03 f8 03 01 08");
  EXPECT_EQ(hex(aml::irq(12)), "22 00 10");
  EXPECT_EQ(hex(aml::dma(2)), "2a 04 00");
  EXPECT_EQ(hex(aml::memory32_fixed(aml::Writable::kYes, 0xfed00000, 0x400)), "86 09 00 01 00 00 d0 fe 00 04 00 00");
  EXPECT_EQ(hex(aml::interrupt(aml::Trigger::kLevel, aml::Sharing::kShared, {5, 10})),
            "89 0a 00 09 02 05 00 00 00 0a 00 00 00");
  EXPECT_EQ(hex(aml::resources({aml::irq(1)})), "11 08 0a 05 22 02 00 79 00");
  EXPECT_EQ(hex(aml::word_space(aml::Range::kBusNumbers, 0, 0xff)), "88 0d 00 02 0c 00 00 00 00 00 ff 00 00 00 00 01");
  EXPECT_EQ(hex(aml::dword_space(aml::Range::kMemory, aml::Cacheable::kYes, 0xa0000, 0xbffff)),
            "87 17 00 00 0c 03 00 00 00 00 00 00 0a 00 ff ff 0b 00 00 00 00 00 00 00 02 00");
  EXPECT_EQ(aml::qword_space(aml::Range::kMemory, aml::Cacheable::kNo, 0, 0xfff).bytes().size(), 46U);
}

}  // namespace
}  // namespace doppel::hw
