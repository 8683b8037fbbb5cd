// bench: how long an image takes for many small requests.
#include <fmt/core.h>

#include <chrono>

#include "base/text.h"
#include "tools/img/command.h"

namespace doppel::img {
namespace {

constexpr OptionRow kOptions[] = {
    {'c', "", true},        {'d', "", true},
    {'f', "", true},        {'o', "", true},
    {'s', "", true},        {'S', "", true},
    {'t', "", true},        {'w', "", false},
    {'q', "", false},       {'U', "force-share", false},
    {0, "pattern", true},   {0, "flush-interval", true},
    {0, "no-drain", false},
};

/// Sizes and offsets in bytes.
struct Load {
  std::uint64_t requests = 0;
  std::uint64_t depth = 0;  // requests under way at a time
  std::uint64_t offset = 0;
  std::uint64_t size = 0;
  std::uint64_t step = 0;
  bool writes = false;
  std::uint64_t pattern = 0;         // the byte that is written
  std::uint64_t flush_interval = 0;  // requests; 0: no flush
  bool drains = true;                // a flush waits for all requests before it
};

/// Option NAME's value from LEAST to MOST.
Result<std::uint64_t> number(const Arguments& arguments, std::string_view name, std::string_view otherwise,
                             std::uint64_t least, std::uint64_t most) {
  const std::string text = arguments.value_or(name, otherwise);
  const auto value = parse_size(text);
  if (!value || *value < least || *value > most)
    return fail(ErrorKind::kInvalidArgument, "{}{} expects a number from {} to {}, not '{}'",
                name.size() == 1 ? "-" : "--", name, least, most, text);
  return *value;
}

Result<Load> parse_load(const Arguments& arguments, std::uint64_t image_size) {
  constexpr std::uint64_t kMostRequests = 0x7fff'ffff;
  constexpr std::uint64_t kMostDepth = 1024;
  constexpr std::uint64_t kMostSize = 1 << 30;
  Load load{.writes = arguments.has("w"), .drains = !arguments.has("no-drain")};
  DOPPEL_ASSIGN(load.requests, number(arguments, "c", "75000", 0, kMostRequests));
  DOPPEL_ASSIGN(load.depth, number(arguments, "d", "64", 1, kMostDepth));
  DOPPEL_ASSIGN(load.size,
                number(arguments, "s", "4096", 1, std::min(kMostSize, std::max<std::uint64_t>(image_size, 1))));
  DOPPEL_ASSIGN(load.offset, number(arguments, "o", "0", 0, image_size - std::min(load.size, image_size)));
  DOPPEL_ASSIGN(load.step, number(arguments, "S", "0", 0, image_size));
  if (load.step == 0) load.step = load.size;
  DOPPEL_ASSIGN(load.pattern, number(arguments, "pattern", "0", 0, 0xff));
  DOPPEL_ASSIGN(load.flush_interval, number(arguments, "flush-interval", "0", 0, kMostRequests));
  if (load.flush_interval == 0) return load;
  if (!load.writes) return fail(ErrorKind::kInvalidArgument, "--flush-interval needs write requests; add -w");
  if (load.drains && load.flush_interval < load.depth)
    return fail(ErrorKind::kInvalidArgument, "the flush interval {} is smaller than the depth {}; make -d smaller",
                load.flush_interval, load.depth);
  return load;
}

/// Keeps DEPTH requests under way.
class Bench {
 public:
  Bench(block::Node& node, const Load& load)
      : node_(node), load_(load), written_(load.size, static_cast<std::byte>(load.pattern)), offset_(load.offset) {}

  block::Task<Result<>> run() {
    const std::uint64_t batch =
        load_.flush_interval != 0 && load_.drains ? load_.flush_interval : std::max<std::uint64_t>(load_.requests, 1);
    while (begun_ < load_.requests && result_) {
      limit_ = std::min(load_.requests, begun_ + batch);
      co_await run_batch();
      if (load_.flush_interval != 0 && load_.drains && result_) result_ = co_await node_.flush();
    }
    co_return std::move(result_);
  }

 private:
  block::Task<bool> run_batch() {
    block::Completion<bool> finished;
    workers_ = std::min(load_.depth, limit_ - begun_);
    for (std::uint64_t left = workers_; left > 0; --left)
      block::spawn(work(), [&](Result<> result) {
        if (!result && result_) result_ = std::move(result);
        if (--workers_ == 0) finished.complete(true);
      });
    co_return co_await finished;
  }

  block::Task<Result<>> work() {
    std::vector<std::byte> buffer(load_.writes ? 0 : load_.size);
    while (begun_ < limit_ && result_) {
      const std::uint64_t number = ++begun_;
      const std::uint64_t at = next_offset();
      if (load_.writes) {
        DOPPEL_CO_TRY(co_await node_.write(at, std::span<const std::byte>(written_)));
      } else {
        DOPPEL_CO_TRY(co_await node_.read(at, std::span<std::byte>(buffer)));
      }
      const bool flushes = load_.flush_interval != 0 && !load_.drains && number % load_.flush_interval == 0;
      if (flushes) DOPPEL_CO_TRY(co_await node_.flush());
    }
    co_return Result<>{};
  }

  /// Behind the end it goes on at the beginning.
  std::uint64_t next_offset() {
    const std::uint64_t at = offset_;
    offset_ += load_.step;
    if (offset_ > node_.size() - load_.size) offset_ = 0;
    return at;
  }

  block::Node& node_;
  const Load load_;
  const std::vector<std::byte> written_;
  std::uint64_t offset_;
  std::uint64_t begun_ = 0;
  std::uint64_t limit_ = 0;    // of the batch
  std::uint64_t workers_ = 0;  // still at work
  Result<> result_;
};

void announce(const Load& load) {
  fmt::print("Sending {} {} requests, {} bytes each, {} in parallel (starting at offset {}, step size {})\n",
             load.requests, load.writes ? "write" : "read", load.size, load.depth, load.offset, load.step);
  if (load.flush_interval != 0) fmt::print("Sending flush every {} requests\n", load.flush_interval);
}

Result<int> run(Session& session, const Arguments& arguments) {
  DOPPEL_ASSIGN(const std::string filename, only_filename(arguments));
  DOPPEL_ASSIGN(const OpenRequest options, image_options(arguments, filename, arguments.has("w")));
  DOPPEL_ASSIGN(OpenImage image, OpenImage::open(session, options));
  DOPPEL_ASSIGN(const Load load, parse_load(arguments, image.node().size()));
  const bool quiet = arguments.has("q");
  if (!quiet) announce(load);
  Bench bench(image.node(), load);
  const auto begin = std::chrono::steady_clock::now();
  DOPPEL_TRY(session.run(bench.run()));
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
  if (!quiet) fmt::print("Run completed in {:3.3f} seconds.\n", taken.count());
  DOPPEL_TRY(image.close());
  return 0;
}

}  // namespace

const Command kBench{"bench",
                     "[-c COUNT] [-d DEPTH] [-f FMT] [-o OFFSET] [-s SIZE] [-S STEP] [-t CACHE] [-w] [-q] [-U]\n"
                     "        [--pattern=BYTE] [--flush-interval=N] [--no-drain] FILE",
                     kOptions, run};

}  // namespace doppel::img
