#include "base/error.h"

#include <cerrno>
#include <system_error>

namespace doppel {

std::string_view to_string(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kInvalidArgument: return "invalid-argument";
    case ErrorKind::kNotFound: return "not-found";
    case ErrorKind::kPermissionDenied: return "permission-denied";
    case ErrorKind::kAlreadyExists: return "already-exists";
    case ErrorKind::kUnsupported: return "unsupported";
    case ErrorKind::kOutOfRange: return "out-of-range";
    case ErrorKind::kIo: return "io";
    case ErrorKind::kNoSpace: return "no-space";
    case ErrorKind::kBusy: return "busy";
    case ErrorKind::kCorrupt: return "corrupt";
    case ErrorKind::kInternal: return "internal";
  }
  return "unknown";
}

namespace {

ErrorKind kind_of_errno(int code) {
  switch (code) {
    case EINVAL: return ErrorKind::kInvalidArgument;
    case ENOENT:
    case ENODEV:
    case ENXIO: return ErrorKind::kNotFound;
    case EPERM:
    case EACCES:
    case EROFS: return ErrorKind::kPermissionDenied;
    case EEXIST: return ErrorKind::kAlreadyExists;
    case ENOSYS:
    case EOPNOTSUPP:
    case ENOTTY: return ErrorKind::kUnsupported;
    case ERANGE:
    case EOVERFLOW:
    case EFAULT: return ErrorKind::kOutOfRange;
    case ENOSPC:
    case ENOMEM:
    case EDQUOT:
    case EMFILE:
    case ENFILE: return ErrorKind::kNoSpace;
    case EBUSY:
    case EAGAIN:
    case EADDRINUSE:
    case ETXTBSY: return ErrorKind::kBusy;
    default: return ErrorKind::kIo;
  }
}

}  // namespace

Error Error::from_errno(int code, std::string_view what) {
  return {kind_of_errno(code), fmt::format("{}: {}", what, std::generic_category().message(code))};
}

Error Error::wrap(std::string context) && {
  Error outer(kind_, std::move(context));
  outer.cause_ = std::make_shared<const Error>(std::move(*this));
  return outer;
}

/// Names in it may come from a hostile image or guest: what a terminal would obey, and line ends, become question
/// marks.
std::string Error::describe() const {
  std::string text = cause_ ? message_ + ": " + cause_->describe() : message_;
  for (char& c : text)
    if (static_cast<unsigned char>(c) < ' ' || c == '\x7f') c = '?';
  return text;
}

int last_errno() {
  return errno;
}

}  // namespace doppel
