// The line that -p shows.
#pragma once

#include <fmt/core.h>

#include <cstdint>
#include <cstdio>

namespace doppel::img {

class Progress {
 public:
  Progress(bool shown, std::uint64_t total) : shown_(shown), total_(total) { show(0); }
  ~Progress() {
    if (shown_) fmt::print("\n");
  }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void show(std::uint64_t done) {
    if (!shown_) return;
    const double percent = total_ == 0 ? 100.0 : 100.0 * static_cast<double>(done) / static_cast<double>(total_);
    if (percent < last_ + 1 && percent < 100 && percent > 0) return;
    last_ = percent;
    fmt::print("    ({:.2f}/100%)\r", percent);
    (void)std::fflush(stdout);
  }

 private:
  const bool shown_;
  const std::uint64_t total_;
  double last_ = 0;
};

}  // namespace doppel::img
