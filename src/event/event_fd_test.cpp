#include "event/event_fd.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>

namespace doppel::event {
namespace {

bool readable(const EventFd& event) {
  pollfd entry{.fd = event.fd(), .events = POLLIN, .revents = 0};
  return ::poll(&entry, 1, 0) == 1;
}

TEST(EventFd, CountsAndDrains) {
  const auto event = EventFd::create();
  ASSERT_TRUE(event);
  EXPECT_FALSE(readable(*event));
  EXPECT_EQ(event->drain(), 0U);
  event->signal();
  event->signal();
  EXPECT_TRUE(readable(*event));
  EXPECT_EQ(event->drain(), 2U);
  EXPECT_FALSE(readable(*event));
}

TEST(EventFd, FullCounterNeitherBlocksNorTouchesErrno) {
  const auto event = EventFd::create();
  ASSERT_TRUE(event);
  const std::uint64_t most = ~std::uint64_t{0} - 1;
  ASSERT_EQ(::write(event->fd(), &most, sizeof most), 8);
  errno = 123;
  event->signal();
  EXPECT_EQ(errno, 123);
  EXPECT_EQ(event->drain(), most);
}

}  // namespace
}  // namespace doppel::event
