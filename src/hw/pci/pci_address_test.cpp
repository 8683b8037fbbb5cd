#include "hw/pci/pci_address.h"

#include <gtest/gtest.h>

namespace doppel::hw {
namespace {

TEST(PciAddress, ParsesSlotAndFunctionInHexadecimal) {
  EXPECT_EQ(parse_pci_address("6").value(), (PciAddress{6, 0}));
  EXPECT_EQ(parse_pci_address("06.0").value(), (PciAddress{6, 0}));
  EXPECT_EQ(parse_pci_address("0x1f").value(), (PciAddress{31, 0}));
  EXPECT_EQ(parse_pci_address("1F.7").value(), (PciAddress{31, 7}));
  EXPECT_EQ(parse_pci_address("0x10.0x2").value(), (PciAddress{16, 2}));
}

TEST(PciAddress, RefusesWhatIsNone) {
  for (const char* text : {"", ".", "20", "6.8", "6.", ".1", "g", "6.1.1", "-1", "6 ", "0x"}) {
    const auto parsed = parse_pci_address(text);
    ASSERT_FALSE(parsed) << text;
    EXPECT_EQ(parsed.error().kind(), ErrorKind::kInvalidArgument);
  }
  EXPECT_EQ(parse_pci_address("20").error().message(),
            "'20' is no PCI address: expected hexadecimal SLOT or SLOT.FUNCTION, up to 1f.7");
}

TEST(PciAddress, PrintsAsToolsDo) {
  EXPECT_EQ(fmt::format("{}", PciAddress{6, 1}), "06.1");
  EXPECT_EQ(fmt::format("{}", Bdf{0, 31, 7}), "00:1f.7");
  EXPECT_EQ((PciAddress{31, 7}).index(), 255U);
}

}  // namespace
}  // namespace doppel::hw
