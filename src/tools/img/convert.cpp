// convert: copies disks into another image, of any format.
#include <fmt/core.h>

#include "base/text.h"
#include "block/image/create_image.h"
#include "tools/img/bitmaps.h"
#include "tools/img/command.h"
#include "tools/img/copy.h"
#include "tools/img/progress.h"

namespace doppel::img {
namespace {

constexpr OptionRow kOptions[] = {
    {'f', "", true},
    {'O', "", true},
    {'o', "", true},
    {'B', "", true},
    {'F', "", true},
    {'l', "", true},
    {'m', "", true},
    {'S', "", true},
    {'t', "", true},
    {'T', "", true},
    {'c', "", false},
    {'n', "", false},
    {'p', "", false},
    {'q', "", false},
    {'W', "", false},
    {'U', "force-share", false},
    {0, "target-is-zero", false},
    {0, "target-image-opts", false},
    {0, "bitmaps", false},
    {0, "skip-broken-bitmaps", false},
};
constexpr std::uint64_t kMaxWorkers = 16;

struct Sources {
  std::vector<OpenImage> images;
  std::uint64_t size = 0;
};

/// "NAME", or "snapshot.id=ID" or "snapshot.name=NAME".
std::string snapshot_name(std::string text) {
  for (const std::string_view prefix : {"snapshot.id=", "snapshot.name="})
    if (text.starts_with(prefix)) return text.substr(prefix.size());
  return text;
}

Result<Sources> open_sources(Session& session, const Arguments& arguments) {
  Sources sources;
  const auto& names = arguments.rest();
  for (std::size_t i = 0; i + 1 < names.size(); ++i) {
    DOPPEL_ASSIGN(const OpenRequest options, image_options(arguments, names[i], false, "T"));
    DOPPEL_ASSIGN(OpenImage image, OpenImage::open(session, options));
    if (const auto snapshot = arguments.value("l")) {
      if (image.qcow2() == nullptr) return fail(ErrorKind::kInvalidArgument, "'{}' has no snapshots", names[i]);
      DOPPEL_TRY(session.run(image.qcow2()->view_snapshot(snapshot_name(*snapshot))));
    }
    sources.size += image.node().size();
    sources.images.push_back(std::move(image));
  }
  return sources;
}

/// -o, -B and -F, for a disk of SIZE bytes.
Result<block::CreateImage> creation(const Arguments& arguments, std::uint64_t size) {
  block::CreateImage request{
      .filename = arguments.rest().back(), .format = arguments.value_or("O", "raw"), .size = size};
  for (const std::string& text : arguments.values("o")) {
    DOPPEL_ASSIGN(const auto options, block::parse_options(text));
    for (const auto& [name, value] : options) request.options[name] = value;
  }
  if (const auto backing = arguments.value("B")) request.options["backing_file"] = *backing;
  if (const auto format = arguments.value("F")) request.options["backing_fmt"] = *format;
  return request;
}

Result<OpenRequest> target_options(const Arguments& arguments, const std::string& filename) {
  const bool by_options = arguments.has("target-image-opts");
  if (by_options && !arguments.has("n"))
    return fail(ErrorKind::kInvalidArgument, "--target-image-opts is for an image that is there already; add -n");
  DOPPEL_ASSIGN(OpenRequest options, file_image_options(arguments, filename, true, "t", "unsafe"));
  options.format = arguments.value_or("O", "raw");
  options.file.filling = !arguments.has("n");
  if (!by_options) return options;
  if (arguments.has("O")) return fail(ErrorKind::kInvalidArgument, "--target-image-opts and -O exclude each other");
  DOPPEL_ASSIGN(options.nodes, block::NodeOptions::parse(filename));
  return options;
}

/// The password of an image that was made with -o key-secret= or encrypt.key-secret=.
Result<> add_key(Session& session, const Arguments& arguments, OpenRequest& options) {
  for (const std::string& text : arguments.values("o")) {
    DOPPEL_ASSIGN(const auto values, block::parse_options(text));
    for (const char* name : {"key-secret", "encrypt.key-secret"}) {
      const auto found = values.find(name);
      if (found == values.end()) continue;
      DOPPEL_ASSIGN(options.key, session.graph().secrets().find(found->second));
    }
  }
  return {};
}

/// The image to write to; made anew, unless -n says that it is there.
Result<OpenImage> open_target(Session& session, const Arguments& arguments, std::uint64_t size) {
  const std::string& filename = arguments.rest().back();
  if (!arguments.has("n")) {
    DOPPEL_ASSIGN(block::CreateImage request, creation(arguments, size));
    request.graph = &session.graph();
    if (auto made = session.run(block::create_image(session.context(), request)); !made)
      return std::unexpected(std::move(made).error().wrap(fmt::format("'{}'", filename)));
  }
  DOPPEL_ASSIGN(OpenRequest options, target_options(arguments, filename));
  if (!arguments.has("n")) DOPPEL_TRY(add_key(session, arguments, options));
  DOPPEL_ASSIGN(OpenImage target, OpenImage::open(session, options));
  if (target.node().size() < size)
    return fail(ErrorKind::kInvalidArgument, "'{}' has {} bytes, fewer than the {} to be copied", filename,
                target.node().size(), size);
  return target;
}

/// Whether an image that was just made reads as zeroes: one that is encrypted from its first byte to its last does not.
Result<bool> reads_as_zeroes(Session& session, const OpenImage& image) {
  if (!image.node().info().encrypted || image.node().size() == 0) return true;
  DOPPEL_ASSIGN(const block::BlockStatus status, session.run(image.node().block_status(0, image.node().size())));
  return status.zero || !status.allocated;
}

Result<CopyOptions> copy_options(Session& session, const Arguments& arguments, OpenImage& target) {
  CopyOptions options{.in_order = !arguments.has("W")};
  DOPPEL_ASSIGN(const std::uint64_t workers, parse_number(arguments.value_or("m", "8")));
  if (workers < 1 || workers > kMaxWorkers)
    return fail(ErrorKind::kInvalidArgument, "-m takes a number of coroutines from 1 to {}", kMaxWorkers);
  options.workers = static_cast<unsigned>(workers);
  DOPPEL_ASSIGN(options.sparse, parse_size(arguments.value_or("S", "4k")));
  const block::NodeInfo info = target.node().info();
  const bool fresh = !arguments.has("n") && info.backing_file.empty();
  if (fresh) {
    DOPPEL_ASSIGN(options.target_is_zero, reads_as_zeroes(session, target));
  }
  if (arguments.has("target-is-zero")) options.target_is_zero = true;
  block::CompressedTarget* const compressed = target.compressed_target();
  if (arguments.has("c") || (compressed != nullptr && compressed->compressed_only())) {
    if (compressed == nullptr) return fail(ErrorKind::kUnsupported, "format {} has no compression", info.format);
    options.compress = compressed;
    options.piece = info.cluster_size;
  }
  return options;
}

/// What can be told before anything is written.
Result<> check_bitmaps(const Arguments& arguments, const Sources& sources) {
  const bool skip = arguments.has("skip-broken-bitmaps");
  if (skip && !arguments.has("bitmaps"))
    return fail(ErrorKind::kInvalidArgument, "--skip-broken-bitmaps goes with --bitmaps only");
  if (!arguments.has("bitmaps")) return {};
  if (sources.images.size() > 1) return fail(ErrorKind::kUnsupported, "--bitmaps takes one source image");
  DOPPEL_TRY(check_copied_bitmaps(sources.images[0], skip ? Broken::kSkip : Broken::kRefuse));
  if (const auto format = arguments.value_or("O", "raw"); format != "qcow2" && !arguments.has("target-image-opts"))
    return fail(ErrorKind::kUnsupported, "images of format {} have no bitmaps", format);
  return {};
}

Result<int> run(Session& session, const Arguments& arguments) {
  if (arguments.rest().size() < 2)
    return fail(ErrorKind::kInvalidArgument, "expecting source file names and a target file name");
  DOPPEL_ASSIGN(const Sources sources, open_sources(session, arguments));
  DOPPEL_TRY(check_bitmaps(arguments, sources));
  if (arguments.has("c") && sources.images.size() > 1)
    return fail(ErrorKind::kUnsupported, "-c takes one source image");
  DOPPEL_ASSIGN(OpenImage target, open_target(session, arguments, sources.size));
  DOPPEL_ASSIGN(CopyOptions options, copy_options(session, arguments, target));
  // What the new image's backing file has, the copy need not have: it is told apart by contents, not by name.
  if (target.node().backing() != nullptr) options.target_is_zero = false;
  {
    Progress progress(arguments.has("p") && !arguments.has("q"), sources.size);
    std::uint64_t offset = 0;
    for (const OpenImage& source : sources.images) {
      options.progress = [&](std::uint64_t done) { progress.show(offset + done); };
      DOPPEL_TRY(session.run(copy_disk(source.node(), target.node(), offset, options)));
      offset += source.node().size();
    }
  }
  if (arguments.has("bitmaps")) DOPPEL_TRY(copy_bitmaps(session, sources.images[0], target));
  DOPPEL_TRY(target.close());
  return 0;
}

}  // namespace

const Command kConvert{
    "convert",
    "[-f FMT] [-O FMT] [-o OPTIONS] [-B BACKING -F FMT] [-c] [-n] [-p] [-q] [-W] [-m N] [-l SNAPSHOT]\n"
    "          [-S SPARSE] [-t CACHE] [-T CACHE] [-U] [--target-is-zero] [--target-image-opts]\n"
    "          [--bitmaps [--skip-broken-bitmaps]] FILE... TARGET",
    kOptions, run};

}  // namespace doppel::img
