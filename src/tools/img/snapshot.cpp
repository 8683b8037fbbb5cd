// snapshot: lists, creates, applies and deletes an image's internal snapshots.
#include <fmt/core.h>

#include "tools/common/format.h"
#include "tools/img/command.h"

namespace doppel::img {
namespace {

constexpr OptionRow kOptions[] = {
    {'l', "", false}, {'c', "", true},  {'a', "", true},  {'d', "", true},
    {'f', "", true},  {'q', "", false}, {'U', "", false},
};

Result<> change(Session& session, OpenImage& image, const Arguments& arguments) {
  block::qcow2::Image* qcow2 = image.qcow2();
  if (qcow2 == nullptr)
    return fail(ErrorKind::kUnsupported, "'{}': images of format {} have no snapshots", image.filename(),
                image.node().info().format);
  if (const auto name = arguments.value("c")) return session.run(qcow2->create_snapshot(*name));
  if (const auto name = arguments.value("a")) return session.run(qcow2->apply_snapshot(*name));
  return session.run(qcow2->delete_snapshot(arguments.value_or("d", "")));
}

Result<int> run(Session& session, const Arguments& arguments) {
  DOPPEL_ASSIGN(const std::string filename, only_filename(arguments));
  int actions = 0;
  for (const char* action : {"l", "c", "a", "d"}) actions += arguments.has(action) ? 1 : 0;
  if (actions > 1) return fail(ErrorKind::kInvalidArgument, "only one of -l, -c, -a and -d can be done at a time");
  const bool list = actions == 0 || arguments.has("l");
  DOPPEL_ASSIGN(OpenRequest options, image_options(arguments, filename, !list));
  options.backing = block::Backing::kNone;
  options.metadata_only = true;
  DOPPEL_ASSIGN(OpenImage image, OpenImage::open(session, options));
  if (list) {
    const auto snapshots = image.node().info().snapshots;
    if (!snapshots.empty()) fmt::print("Snapshot list:\n{}", tools::snapshot_list(snapshots));
    return 0;
  }
  DOPPEL_TRY(change(session, image, arguments));
  DOPPEL_TRY(image.close());
  return 0;
}

}  // namespace

const Command kSnapshot{"snapshot", "[-q] [-f FMT] [-U] [-l | -c NAME | -a NAME | -d NAME] FILE", kOptions, run};

}  // namespace doppel::img
