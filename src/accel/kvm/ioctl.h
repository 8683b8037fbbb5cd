// ioctl() on KVM's descriptors: restarted after a signal, failing with a sentence.
#pragma once

#include <sys/ioctl.h>

#include <cerrno>
#include <string_view>

#include "base/error.h"

namespace doppel::accel::kvm {

/// The result, or -1 with errno set. Not for KVM_RUN, where EINTR has a meaning.
template <class Argument>
int retry_ioctl(int fd, unsigned long request, Argument argument) {
  int result;
  do {
    result = ::ioctl(fd, request, argument);
  } while (result < 0 && errno == EINTR);
  return result;
}

/// The same with an Error: "WHAT: Invalid argument".
template <class Argument>
Result<int> checked_ioctl(int fd, unsigned long request, Argument argument, std::string_view what) {
  const int result = retry_ioctl(fd, request, argument);
  if (result < 0) return fail_errno("{}", what);
  return result;
}

/// For ioctls whose result says nothing but success.
template <class Argument>
Result<> command(int fd, unsigned long request, Argument argument, std::string_view what) {
  DOPPEL_TRY(checked_ioctl(fd, request, argument, what));
  return {};
}

}  // namespace doppel::accel::kvm
