#include "base/log.h"

#include <unistd.h>

#include <array>
#include <chrono>

#include "base/text.h"

namespace doppel {

namespace {

constexpr std::array kCategories = {
    LogCategoryInfo{LogCategory::kGuestErrors, "guest_errors", "what the guest did that no real machine allows"},
    LogCategoryInfo{LogCategory::kUnimplemented, "unimp", "guest use of features that Doppel does not have"},
    LogCategoryInfo{LogCategory::kInterrupts, "int", "interrupts and exceptions"},
    LogCategoryInfo{LogCategory::kCpuReset, "cpu_reset", "CPU state before each reset"},
    LogCategoryInfo{LogCategory::kInAsm, "in_asm", "guest code of each block"},
    LogCategoryInfo{LogCategory::kOutAsm, "out_asm", "host code of each translated block"},
    LogCategoryInfo{LogCategory::kOp, "op", "what becomes of each instruction of a translated block"},
    LogCategoryInfo{LogCategory::kExec, "exec", "each block as it is entered"},
    LogCategoryInfo{LogCategory::kNoChain, "nochain", "no jumps between translated blocks"},
    LogCategoryInfo{LogCategory::kCpu, "cpu", "CPU registers before each block"},
    LogCategoryInfo{LogCategory::kMmu, "mmu", "what enters and leaves the TLB"},
    LogCategoryInfo{LogCategory::kPage, "page", "memory slots and mapping changes"},
    LogCategoryInfo{LogCategory::kAccel, "accel", "accelerator statistics at exit"},
    LogCategoryInfo{LogCategory::kPower, "power", "reset, power-off and sleep requests"},
};

constexpr unsigned kLinesPerSecond = 10;

std::string_view level_word(LogLevel level) {
  switch (level) {
    case LogLevel::kError: return "error: ";
    case LogLevel::kWarning: return "warning: ";
    case LogLevel::kInfo:
    case LogLevel::kDebug: return "";
  }
  return "";
}

}  // namespace

std::span<const LogCategoryInfo> log_categories() {
  return kCategories;
}

LogSink::~LogSink() {
  if (file_ != nullptr) std::fclose(file_);
}

Result<> LogSink::open(const std::string& path) {
  std::string name = path;
  if (const auto at = name.find("%d"); at != std::string::npos) name.replace(at, 2, std::to_string(::getpid()));
  std::FILE* file = std::fopen(name.c_str(), "we");
  if (file == nullptr) return fail_errno("cannot open the log file '{}'", name);
  const std::scoped_lock lock(mutex_);
  if (file_ != nullptr) std::fclose(file_);
  file_ = file;
  return {};
}

Result<> LogSink::enable(std::string_view names) {
  for (const std::string_view name : split(names, ',')) {
    bool found = false;
    for (const LogCategoryInfo& row : kCategories) {
      if (name != row.name && name != "all") continue;
      enable(row.category);
      found = true;
    }
    if (found) continue;
    NearestName nearest(name);
    for (const LogCategoryInfo& row : kCategories) nearest.offer(row.name);
    return fail(ErrorKind::kInvalidArgument, "unknown log category '{}'{}; '-d help' lists them", name,
                nearest.suggestion());
  }
  return {};
}

Result<> LogSink::filter(std::string_view ranges) {
  DOPPEL_ASSIGN(filter_, LogFilter::parse(ranges));
  return {};
}

void LogSink::enable(LogCategory category) {
  categories_.fetch_or(mask(category), std::memory_order_relaxed);
}

void LogSink::write(LogLevel level, std::string_view component, std::string_view text) {
  if (quiet_ && level != LogLevel::kError) return;
  const std::string line = component.empty() ? fmt::format("doppel: {}{}\n", level_word(level), text)
                                             : fmt::format("doppel: {}{}: {}\n", level_word(level), component, text);
  write_lines(line);
}

void LogSink::write_lines(std::string_view lines) {
  const std::scoped_lock lock(mutex_);
  std::FILE* out = file_ != nullptr ? file_ : stderr;
  std::fwrite(lines.data(), 1, lines.size(), out);
  std::fflush(out);
}

/// A bucket refilled each second; the first line dropped in a second says so.
struct Logger::RateLimit {
  std::mutex mutex;
  std::chrono::steady_clock::time_point second{};
  unsigned written = 0;
};

Logger::Logger(LogSink& sink, std::string component)
    : sink_(&sink), component_(std::move(component)), rate_limit_(std::make_shared<RateLimit>()) {}

Logger Logger::named(std::string component) const {
  return sink_ != nullptr ? Logger(*sink_, std::move(component)) : Logger();
}

void Logger::write(LogLevel level, std::string_view text) const {
  sink_->write(level, component_, text);
}

bool Logger::take_token() const {
  const std::scoped_lock lock(rate_limit_->mutex);
  const auto now = std::chrono::steady_clock::now();
  if (now - rate_limit_->second >= std::chrono::seconds(1)) {
    rate_limit_->second = now;
    rate_limit_->written = 0;
  }
  if (rate_limit_->written == kLinesPerSecond) write(LogLevel::kDebug, "further messages of this second are dropped");
  return rate_limit_->written++ < kLinesPerSecond;
}

}  // namespace doppel
