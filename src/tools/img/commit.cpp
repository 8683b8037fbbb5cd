// commit: what an image has goes into its backing file.
#include <fmt/core.h>

#include "tools/img/command.h"
#include "tools/img/copy.h"
#include "tools/img/progress.h"

namespace doppel::img {
namespace {

constexpr OptionRow kOptions[] = {
    {'f', "", true}, {'t', "", true}, {'b', "", true}, {'d', "", false}, {'p', "", false}, {'q', "", false},
};

/// The overlay, with its backing file open for writing.
Result<OpenImage> open_pair(Session& session, const Arguments& arguments, const std::string& filename) {
  DOPPEL_ASSIGN(OpenRequest options, image_options(arguments, filename, true));
  options.backing = block::Backing::kWritable;
  DOPPEL_ASSIGN(OpenImage overlay, OpenImage::open(session, options));
  if (overlay.qcow2() == nullptr || overlay.node().backing() == nullptr)
    return fail(ErrorKind::kInvalidArgument, "'{}' has no backing file", filename);
  if (const auto base = arguments.value("b"); base && *base != overlay.node().info().backing_file)
    return fail(ErrorKind::kUnsupported,
                "'{}' is not the backing file of '{}'; committing across several images is not there yet", *base,
                filename);
  return overlay;
}

Result<int> run(Session& session, const Arguments& arguments) {
  DOPPEL_ASSIGN(const std::string filename, only_filename(arguments));
  DOPPEL_ASSIGN(OpenImage overlay, open_pair(session, arguments, filename));
  block::Node& top = overlay.node();
  block::Node& base = *top.backing();
  if (base.size() < top.size()) DOPPEL_TRY(session.run(base.resize(top.size(), block::Preallocation::kOff)));
  CopyOptions options{.base = &base};
  {
    Progress progress(arguments.has("p") && !arguments.has("q"), top.size());
    options.progress = [&](std::uint64_t done) { progress.show(done); };
    DOPPEL_TRY(session.run(copy_disk(top, base, 0, options)));
  }
  DOPPEL_TRY(session.run(base.flush()));
  if (!arguments.has("d")) DOPPEL_TRY(session.run(overlay.qcow2()->make_empty()));
  DOPPEL_TRY(overlay.close());
  if (!arguments.has("q")) fmt::print("Image committed.\n");
  return 0;
}

}  // namespace

const Command kCommit{"commit", "[-q] [-f FMT] [-t CACHE] [-b BASE] [-d] [-p] FILE", kOptions, run};

}  // namespace doppel::img
