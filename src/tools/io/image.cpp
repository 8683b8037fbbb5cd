#include "tools/io/image.h"

#include <algorithm>

namespace doppel::io {

Result<> Image::open(const OpenOptions& options) {
  DOPPEL_ASSIGN(const block::CacheMode cache, block::parse_cache_mode(options.cache));
  block::ImageOptions image{.filename = options.filename,
                            .format = options.format,
                            .file = block::file_options(cache, !options.read_only && !options.snapshot)};
  if (options.force_share) image.file.locking = block::FileLocking::kOff;
  DOPPEL_ASSIGN(block::NodePtr node, run(block::open_image(context_, image)));
  if (options.snapshot) {
    DOPPEL_ASSIGN(node, run(block::temporary_overlay(context_, std::move(node))));
  }
  node_ = std::move(node);
  options_ = options;
  write_through_ = cache == block::CacheMode::kWritethrough || cache == block::CacheMode::kDirectsync;
  return {};
}

Result<> Image::close() {
  if (!is_open()) return {};
  finish_all();
  auto closed = run(node_->close());
  node_ = nullptr;
  return closed;
}

void Image::begin(block::Task<bool> task) {
  ++under_way_;
  block::spawn(std::move(task), [this](bool) { --under_way_; });
}

void Image::finish_all() {
  struct Wait {
    static block::Task<bool> for_none(event::Loop& loop, const unsigned& under_way) {
      while (under_way > 0) co_await block::LoopTurn(loop);
      co_return true;
    }
  };
  (void)run(Wait::for_none(context_.loop(), under_way_));
}

void Image::sleep(std::uint64_t milliseconds) {
  event::Loop& loop = context_.loop();
  const auto timer = loop.realtime_clock().create_timer([&loop] { loop.quit(); });
  constexpr std::uint64_t kMost = 86'400'000;  // a day
  const auto ns = static_cast<std::int64_t>(std::min(milliseconds, kMost)) * event::kNsPerMillisecond;
  timer->arm(loop.realtime_clock().now_ns() + ns);
  loop.run();
}

}  // namespace doppel::io
