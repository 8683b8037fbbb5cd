// The log: levels for what the user must see, categories (`-d`) for what a developer asks for.
//
// A LogSink is made once by main() and outlives all. Everything else holds a Logger, a small value naming the component
// that speaks. Thread-safe throughout. What the guest can provoke goes through guest_error(), which is rate-limited per
// Logger so that a hostile guest cannot fill the disk.
#pragma once

#include <fmt/core.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/log_filter.h"

namespace doppel {

enum class LogLevel : std::uint8_t { kError, kWarning, kInfo, kDebug };

/// The `-d` categories, in QEMU's spelling. log_categories() has name and help of each.
enum class LogCategory : std::uint32_t {
  kGuestErrors,
  kUnimplemented,
  kInterrupts,
  kCpuReset,
  kInAsm,
  kOutAsm,
  kOp,
  kExec,
  kNoChain,
  kCpu,
  kMmu,
  kPage,
  kAccel,
  kPower,
};

struct LogCategoryInfo {
  LogCategory category;
  std::string_view name;
  std::string_view help;
};

std::span<const LogCategoryInfo> log_categories();

class LogSink {
 public:
  /// Writes to stderr, no category enabled.
  LogSink() = default;
  ~LogSink();
  LogSink(const LogSink&) = delete;
  LogSink& operator=(const LogSink&) = delete;

  /// `-D PATH`: from now on write there. A `%d` in PATH becomes the process id.
  Result<> open(const std::string& path);
  /// `-d NAMES`: comma-separated category names, or "all". An unknown name is an error that names the nearest.
  Result<> enable(std::string_view names);
  void enable(LogCategory category);
  [[nodiscard]] bool enabled(LogCategory category) const {
    return (categories_.load(std::memory_order_relaxed) & mask(category)) != 0;
  }
  void set_quiet(bool quiet) { quiet_ = quiet; }
  /// `-dfilter RANGES`: of guest code only what lies there. Before other threads log.
  Result<> filter(std::string_view ranges);
  [[nodiscard]] bool covers(std::uint64_t address) const { return filter_.passes(address); }

  /// One line: "doppel: COMPONENT: TEXT" with the level's word where it is not plain information.
  void write(LogLevel level, std::string_view component, std::string_view text);
  /// Whole lines, as they are.
  void write_lines(std::string_view lines);

 private:
  static constexpr std::uint32_t mask(LogCategory category) { return 1U << static_cast<unsigned>(category); }

  std::atomic<std::uint32_t> categories_{0};
  std::atomic<bool> quiet_{false};
  LogFilter filter_;
  std::mutex mutex_;  // guards file_
  std::FILE* file_ = nullptr;
};

/// A component's voice. Cheap to copy; a default-made one is silent, which is what unit tests want.
class Logger {
 public:
  Logger() = default;
  Logger(LogSink& sink, std::string component);

  /// The same sink under another name.
  [[nodiscard]] Logger named(std::string component) const;
  [[nodiscard]] bool enabled(LogCategory category) const { return sink_ != nullptr && sink_->enabled(category); }

  template <class... Args>
  void error(fmt::format_string<Args...> format, Args&&... args) const {
    if (sink_ != nullptr) write(LogLevel::kError, fmt::format(format, std::forward<Args>(args)...));
  }
  template <class... Args>
  void warn(fmt::format_string<Args...> format, Args&&... args) const {
    if (sink_ != nullptr) write(LogLevel::kWarning, fmt::format(format, std::forward<Args>(args)...));
  }
  template <class... Args>
  void info(fmt::format_string<Args...> format, Args&&... args) const {
    if (sink_ != nullptr) write(LogLevel::kInfo, fmt::format(format, std::forward<Args>(args)...));
  }
  /// Only with `-d CATEGORY`.
  template <class... Args>
  void trace(LogCategory category, fmt::format_string<Args...> format, Args&&... args) const {
    if (enabled(category)) write(LogLevel::kDebug, fmt::format(format, std::forward<Args>(args)...));
  }
  /// Whole lines without "doppel:" in front of each, for what QEMU prints so. Only with `-d CATEGORY`.
  void dump(LogCategory category, std::string_view lines) const {
    if (enabled(category)) sink_->write_lines(lines);
  }
  /// Is guest code at ADDRESS to be logged?
  [[nodiscard]] bool covers(std::uint64_t address) const { return sink_ != nullptr && sink_->covers(address); }
  /// The guest did something no real machine allows. Only with `-d guest_errors`, at most ten lines a second.
  template <class... Args>
  void guest_error(fmt::format_string<Args...> format, Args&&... args) const {
    if (enabled(LogCategory::kGuestErrors) && take_token())
      write(LogLevel::kDebug, fmt::format(format, std::forward<Args>(args)...));
  }

 private:
  struct RateLimit;

  void write(LogLevel level, std::string_view text) const;
  bool take_token() const;

  LogSink* sink_ = nullptr;
  std::string component_;
  std::shared_ptr<RateLimit> rate_limit_;
};

}  // namespace doppel
