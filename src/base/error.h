// Errors are values: a stable kind, one sentence for the user, and the error underneath.
//
// Nothing in Doppel throws across a function boundary; a function that can fail returns Result<T>.
#pragma once

#include <fmt/core.h>

#include <cstdint>
#include <expected>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace doppel {

enum class ErrorKind : std::uint8_t {
  kInvalidArgument,   // the user or the guest asked for something that makes no sense
  kNotFound,          // a file, device or name does not exist
  kPermissionDenied,  // the host refuses
  kAlreadyExists,     // an id, slot or address range is taken
  kUnsupported,       // makes sense, but this host or this build cannot do it
  kOutOfRange,        // an address or index is outside of what exists
  kIo,                // the host's I/O failed
  kNoSpace,           // disk, memory or table is full
  kBusy,              // in use by somebody else; may work later
  kCorrupt,           // data on disk, wire or in a saved state is damaged
  kInternal,          // our own bug
};

/// The kind's stable lower-case name, such as "not-found".
std::string_view to_string(ErrorKind kind);

class [[nodiscard]] Error {
 public:
  Error(ErrorKind kind, std::string message) : kind_(kind), message_(std::move(message)) {}

  /// From an errno value: "WHAT: No such file or directory", with the kind that fits.
  static Error from_errno(int code, std::string_view what);

  /// The same failure seen from one level up: CONTEXT becomes the message, this error its cause.
  [[nodiscard]] Error wrap(std::string context) &&;

  [[nodiscard]] ErrorKind kind() const { return kind_; }
  [[nodiscard]] const std::string& message() const { return message_; }
  [[nodiscard]] const Error* cause() const { return cause_.get(); }

  /// "outer: inner: innermost", on one line, without control characters.
  [[nodiscard]] std::string describe() const;

 private:
  ErrorKind kind_;
  std::string message_;
  std::shared_ptr<const Error> cause_;
};

template <class T = void>
using Result = std::expected<T, Error>;

/// return fail(ErrorKind::kNotFound, "no device '{}'", name);
template <class... Args>
[[nodiscard]] std::unexpected<Error> fail(ErrorKind kind, fmt::format_string<Args...> format, Args&&... args) {
  return std::unexpected(Error(kind, fmt::format(format, std::forward<Args>(args)...)));
}

/// return fail_errno("open {}", path);  reads errno.
template <class... Args>
[[nodiscard]] std::unexpected<Error> fail_errno(fmt::format_string<Args...> format, Args&&... args);

[[nodiscard]] int last_errno();

template <class... Args>
std::unexpected<Error> fail_errno(fmt::format_string<Args...> format, Args&&... args) {
  const int code = last_errno();
  return std::unexpected(Error::from_errno(code, fmt::format(format, std::forward<Args>(args)...)));
}

}  // namespace doppel

/// Returns the error of EXPRESSION, a Result, from the enclosing function. A function cannot return for its caller.
#define DOPPEL_TRY(expression)                                                                                       \
  do {                                                                                                               \
    if (auto doppel_result = (expression); !doppel_result) return std::unexpected(std::move(doppel_result).error()); \
  } while (false)

#define DOPPEL_CONCAT_IMPL(a, b) a##b
#define DOPPEL_CONCAT(a, b) DOPPEL_CONCAT_IMPL(a, b)

/// DOPPEL_ASSIGN(auto fd, open_file(path));  like DOPPEL_TRY, and otherwise takes the value.
#define DOPPEL_ASSIGN(declaration, expression)                                          \
  auto DOPPEL_CONCAT(doppel_result_, __LINE__) = (expression);                          \
  if (!DOPPEL_CONCAT(doppel_result_, __LINE__))                                         \
    return std::unexpected(std::move(DOPPEL_CONCAT(doppel_result_, __LINE__)).error()); \
  declaration = std::move(*DOPPEL_CONCAT(doppel_result_, __LINE__))
