#include "accel/soft/doorbells.h"

#include <gtest/gtest.h>

#include "event/event_fd.h"

namespace doppel::accel::soft {
namespace {

constexpr std::uint64_t kAddress = 0xfe00'0000;

IoEventSpec spec(unsigned size, std::optional<std::uint64_t> value = {}, bool is_port = false) {
  return {.address = {kAddress}, .is_port = is_port, .size = size, .value = value};
}

class DoorbellsTest : public testing::Test {
 protected:
  bool ring(unsigned size, std::uint64_t value, bool is_port = false, std::uint64_t address = kAddress) {
    return bells_.ring(is_port, address, size, value);
  }

  const event::EventFd bell_ = *event::EventFd::create();
  const event::EventFd other_ = *event::EventFd::create();
  Doorbells bells_;
};

TEST_F(DoorbellsTest, NobodyListensAtFirst) {
  EXPECT_FALSE(ring(4, 1));
}

TEST_F(DoorbellsTest, SizeValueAndSpaceCount) {
  ASSERT_TRUE(bells_.attach(spec(2, 7), bell_));
  EXPECT_TRUE(ring(2, 7));
  EXPECT_EQ(bell_.drain(), 1U);
  EXPECT_FALSE(ring(2, 8));
  EXPECT_FALSE(ring(4, 7));
  EXPECT_FALSE(ring(2, 7, true));
  EXPECT_FALSE(ring(2, 7, false, kAddress + 1));
  EXPECT_EQ(bell_.drain(), 0U);
}

TEST_F(DoorbellsTest, ManyAtOneAddress) {
  ASSERT_TRUE(bells_.attach(spec(2, 1), bell_));
  ASSERT_TRUE(bells_.attach(spec(2, 2), other_));
  ASSERT_TRUE(bells_.attach(spec(4), other_));
  ASSERT_TRUE(bells_.attach(spec(2, 1, true), other_));
  EXPECT_TRUE(ring(2, 2));
  EXPECT_EQ(bell_.drain(), 0U);
  EXPECT_EQ(other_.drain(), 1U);
}

TEST_F(DoorbellsTest, TwoForOneWriteAreRefused) {
  ASSERT_TRUE(bells_.attach(spec(2, 1), bell_));
  for (const IoEventSpec& again : {spec(2, 1), spec(2), spec(0)}) {
    const auto result = bells_.attach(again, other_);
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().kind(), ErrorKind::kAlreadyExists);
  }
  EXPECT_TRUE(bells_.attach(spec(1), other_));
}

TEST_F(DoorbellsTest, NonsenseIsRefused) {
  EXPECT_FALSE(bells_.attach(spec(3), bell_));
  EXPECT_FALSE(bells_.attach(spec(0, 1), bell_));
}

TEST_F(DoorbellsTest, DetachesJustWhatWasAttached) {
  ASSERT_TRUE(bells_.attach(spec(2, 1), bell_));
  EXPECT_FALSE(bells_.detach(spec(2, 1), other_));
  EXPECT_FALSE(bells_.detach(spec(2, 2), bell_));
  EXPECT_FALSE(bells_.detach(spec(2), bell_));
  ASSERT_TRUE(bells_.detach(spec(2, 1), bell_));
  EXPECT_FALSE(ring(2, 1));
  const auto again = bells_.detach(spec(2, 1), bell_);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().kind(), ErrorKind::kNotFound);
}

}  // namespace
}  // namespace doppel::accel::soft
