// create: a new, empty image.
#include <fmt/core.h>

#include "base/text.h"
#include "block/image/create_image.h"
#include "tools/img/command.h"

namespace doppel::img {
namespace {

constexpr OptionRow kOptions[] = {
    {'f', "", true}, {'b', "", true}, {'F', "", true}, {'o', "", true}, {'q', "", false}, {'u', "", false},
};

Result<int> run(Session& session, const Arguments& arguments) {
  block::CreateImage request{.filename = {}, .format = arguments.value_or("f", "raw")};
  for (const std::string& text : arguments.values("o")) {
    DOPPEL_ASSIGN(const auto options, block::parse_options(text));
    if (options.contains("help") || options.contains("?")) {
      DOPPEL_ASSIGN(const std::string list, block::describe_options(request.format));
      fmt::print("{}", list);
      return 0;
    }
    for (const auto& [name, value] : options) request.options[name] = value;
  }
  if (arguments.rest().empty() || arguments.rest().size() > 2)
    return fail(ErrorKind::kInvalidArgument, "expecting an image file name, and a size");
  request.filename = arguments.rest()[0];
  if (arguments.rest().size() == 2) {
    DOPPEL_ASSIGN(request.size, parse_size(arguments.rest()[1]));
  }
  if (const auto backing = arguments.value("b")) request.options["backing_file"] = *backing;
  if (const auto format = arguments.value("F")) request.options["backing_fmt"] = *format;
  request.graph = &session.graph();
  request.check_backing = !arguments.has("u");
  auto made = session.run(block::complete_request(session.context(), request));
  if (made && !arguments.has("q")) {
    DOPPEL_ASSIGN(const std::string description, block::describe_creation(request));
    fmt::print("Formatting '{}', fmt={}{}\n", request.filename, request.format, description);
  }
  if (made) made = session.run(block::create_image(session.context(), request));
  if (!made) return std::unexpected(std::move(made).error().wrap(fmt::format("'{}'", request.filename)));
  return 0;
}

}  // namespace

const Command kCreate{"create", "[-q] [-f FMT] [-b BACKING -F BACKING_FMT] [-u] [-o OPTIONS] FILE [SIZE]", kOptions,
                      run};

}  // namespace doppel::img
