// amend: changes what an image was created with.
#include <fmt/core.h>

#include <algorithm>
#include <array>

#include "base/bits.h"
#include "base/text.h"
#include "block/image/create_image.h"
#include "tools/img/command.h"

namespace doppel::img {
namespace {

constexpr OptionRow kOptions[] = {
    {'f', "", true}, {'o', "", true}, {'t', "", true}, {'p', "", false}, {'q', "", false}, {0, "force", false},
};
constexpr auto kNames = std::to_array<std::string_view>({"compat", "lazy_refcounts", "size"});

Result<> check_names(const block::OptionTexts& options) {
  for (const auto& [name, value] : options) {
    if (std::ranges::find(kNames, name) != kNames.end()) continue;
    if (name.starts_with("backing_"))
      return fail(ErrorKind::kUnsupported, "'{}' cannot be amended; 'rebase' changes the backing file", name);
    NearestName nearest(name);
    for (const std::string_view known : kNames) nearest.offer(known);
    return fail(ErrorKind::kUnsupported, "'{}' cannot be amended{}", name, nearest.suggestion());
  }
  return {};
}

Result<> upgrade(Session& session, block::qcow2::Image& image, const std::string& compat) {
  if (compat == "1.1" || compat == "v3") return session.run(image.upgrade());
  if (compat != "0.10" && compat != "v2")
    return fail(ErrorKind::kInvalidArgument, "compat is 0.10 (or v2) or 1.1 (or v3), not '{}'", compat);
  if (image.header().version == 2) return {};
  return fail(ErrorKind::kUnsupported,
              "a version 3 image cannot become version 2 again; convert it with -o compat=0.10");
}

/// In an order that lets one change make the next possible.
Result<> apply(Session& session, block::qcow2::Image& image, const block::NodeOptions& options) {
  if (const auto compat = options.text("compat")) DOPPEL_TRY(upgrade(session, image, *compat));
  if (const auto text = options.text("lazy_refcounts")) {
    DOPPEL_ASSIGN(const bool lazy, parse_bool(*text));
    DOPPEL_TRY(session.run(image.set_lazy_refcounts(lazy)));
  }
  if (const auto text = options.text("size")) {
    DOPPEL_ASSIGN(const std::uint64_t size, parse_size(*text));
    if (size < image.size())
      return fail(ErrorKind::kInvalidArgument, "amend does not shrink an image; 'resize --shrink' does");
    DOPPEL_TRY(session.run(image.resize(align_up(size, 512), block::Preallocation::kOff)));
  }
  return {};
}

Result<int> run(Session& session, const Arguments& arguments) {
  DOPPEL_ASSIGN(const std::string filename, only_filename(arguments));
  if (!arguments.has("o")) return fail(ErrorKind::kInvalidArgument, "-o is missing, such as -o compat=1.1");
  block::OptionTexts texts;
  for (const std::string& text : arguments.values("o")) {
    DOPPEL_ASSIGN(const auto options, block::parse_options(text));
    for (const auto& [name, value] : options) texts[name] = value;
  }
  DOPPEL_ASSIGN(OpenRequest options, image_options(arguments, filename, true));
  options.backing = block::Backing::kNone;
  options.metadata_only = true;
  DOPPEL_ASSIGN(OpenImage image, OpenImage::open(session, options));
  if (image.qcow2() == nullptr)
    return fail(ErrorKind::kUnsupported, "'{}': images of format {} cannot be amended", filename,
                image.node().info().format);
  DOPPEL_TRY(check_names(texts));
  DOPPEL_TRY(apply(session, *image.qcow2(), block::NodeOptions(std::move(texts))));
  DOPPEL_TRY(image.close());
  return 0;
}

}  // namespace

const Command kAmend{"amend", "[-q] [-p] [-f FMT] [-t CACHE] -o OPTIONS FILE", kOptions, run};

}  // namespace doppel::img
