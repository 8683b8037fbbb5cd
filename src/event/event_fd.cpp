#include "event/event_fd.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>

namespace doppel::event {

Result<EventFd> EventFd::create() {
  UniqueFd fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!fd.valid()) return fail_errno("cannot create an eventfd");
  return EventFd(std::move(fd));
}

void EventFd::signal() const {
  const int saved_errno = errno;  // may run in a signal handler
  const std::uint64_t one = 1;
  // EAGAIN means that the counter is at its limit: whoever polls is awake already.
  while (::write(fd_.get(), &one, sizeof one) < 0 && errno == EINTR) {
  }
  errno = saved_errno;
}

std::uint64_t EventFd::drain() const {
  std::uint64_t count = 0;
  while (::read(fd_.get(), &count, sizeof count) < 0) {
    if (errno != EINTR) return 0;
  }
  return count;
}

}  // namespace doppel::event
