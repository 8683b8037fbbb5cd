// resize: another size for the disk.
#include <fmt/core.h>

#include <limits>

#include "base/bits.h"
#include "base/text.h"
#include "tools/img/command.h"

namespace doppel::img {
namespace {

constexpr OptionRow kOptions[] = {
    {'f', "", true},
    {0, "preallocation", true},
    {0, "shrink", false},
    {'q', "", false},
};

/// SIZE is absolute, or relative with a sign.
Result<std::uint64_t> new_size(std::string_view text, std::uint64_t old_size) {
  const char sign = text.empty() ? '\0' : text[0];
  const bool relative = sign == '+' || sign == '-';
  DOPPEL_ASSIGN(const std::uint64_t size, parse_size(text.substr(relative ? 1 : 0)));
  if (sign == '-' && size > old_size)
    return fail(ErrorKind::kInvalidArgument, "the image has {} bytes, which cannot become {} less", old_size, size);
  if (size > std::numeric_limits<std::uint64_t>::max() / 4)
    return fail(ErrorKind::kInvalidArgument, "'{}' is too large", text);
  const std::uint64_t total = sign == '+' ? old_size + size : sign == '-' ? old_size - size : size;
  return align_up(total, 512);
}

Result<block::Preallocation> parse_preallocation(const std::string& text) {
  using enum block::Preallocation;
  for (const auto& [name, value] :
       {std::pair{"off", kOff}, {"metadata", kMetadata}, {"falloc", kFalloc}, {"full", kFull}})
    if (text == name) return value;
  return fail(ErrorKind::kInvalidArgument, "'{}' is no preallocation mode, only off, metadata, falloc and full are",
              text);
}

Result<int> run(Session& session, const Arguments& arguments) {
  if (arguments.rest().size() != 2) return fail(ErrorKind::kInvalidArgument, "expecting an image file name and a size");
  const std::string& filename = arguments.rest()[0];
  DOPPEL_ASSIGN(const auto preallocation, parse_preallocation(arguments.value_or("preallocation", "off")));
  DOPPEL_ASSIGN(const OpenRequest options, image_options(arguments, filename, true));
  DOPPEL_ASSIGN(OpenImage image, OpenImage::open(session, options));
  const std::uint64_t old_size = image.node().size();
  DOPPEL_ASSIGN(const std::uint64_t size, new_size(arguments.rest()[1], old_size));
  if (size < old_size && !arguments.has("shrink"))
    return fail(ErrorKind::kInvalidArgument,
                "'{}' would shrink from {} to {} bytes and lose what is behind; say --shrink to allow that", filename,
                old_size, size);
  if (options.format.empty() && image.qcow2() == nullptr)
    fmt::print(stderr, "doppel-img: '{}' was taken for raw without being told so; say -f raw\n", filename);
  DOPPEL_TRY(session.run(image.node().resize(size, preallocation)));
  DOPPEL_TRY(image.close());
  if (!arguments.has("q")) fmt::print("Image resized.\n");
  return 0;
}

}  // namespace

const Command kResize{"resize", "[-q] [-f FMT] [--preallocation=MODE] [--shrink] FILE [+|-]SIZE", kOptions, run};

}  // namespace doppel::img
