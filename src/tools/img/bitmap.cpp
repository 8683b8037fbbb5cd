// bitmap: adds, removes and changes an image's persistent dirty bitmaps.
#include <algorithm>

#include "base/text.h"
#include "tools/img/bitmaps.h"
#include "tools/img/command.h"

namespace doppel::img {
namespace {

constexpr OptionRow kOptions[] = {
    {0, "add", false},          {0, "remove", false}, {0, "clear", false},        {0, "enable", false},
    {0, "disable", false},      {0, "merge", true},   {'b', "source-file", true}, {'F', "source-format", true},
    {'g', "granularity", true}, {'f', "", true},
};
constexpr std::string_view kActions[] = {"add", "remove", "clear", "enable", "disable", "merge"};

struct Action {
  std::string name;
  std::string source;  // of merge
};

std::vector<Action> actions_of(const Arguments& arguments) {
  std::vector<Action> actions;
  for (const auto& [name, value] : arguments.in_order())
    if (std::ranges::find(kActions, name) != std::end(kActions)) actions.push_back({name, value});
  // --add --disable is one action: no write is between them.
  return actions;
}

Result<> check(const Arguments& arguments, const std::vector<Action>& actions) {
  const auto bad = [](std::string text) {
    return std::unexpected(Error(ErrorKind::kInvalidArgument, std::move(text)));
  };
  if (arguments.rest().size() != 2) return bad("expecting an image file name and a bitmap's name");
  if (actions.empty())
    return bad("expecting at least one of --add, --remove, --clear, --enable, --disable and --merge");
  if (arguments.has("g") && !arguments.has("add")) return bad("-g goes with --add only");
  if (arguments.has("b") && !arguments.has("merge"))
    return bad("-b, the file that a bitmap is merged from, goes with --merge only");
  if (arguments.has("F") && !arguments.has("b")) return bad("-F goes with -b only");
  return {};
}

class Actions {
 public:
  Actions(Session& session, const Arguments& arguments, OpenImage& image, block::qcow2::Image& target,
          block::qcow2::Image& source)
      : session_(session), arguments_(arguments), image_(image), target_(target), source_(source) {}

  Result<> carry_out(const Action& action) {
    const std::string& name = arguments_.rest()[1];
    if (action.name == "add") return add(name);
    if (action.name == "remove") return session_.run(target_.remove_bitmap(name));
    if (action.name == "clear") return session_.run(target_.clear_bitmap(name));
    if (action.name == "merge") return session_.run(target_.merge_bitmap(name, source_, action.source));
    return session_.run(target_.enable_bitmap(name, action.name == "enable"));
  }

 private:
  Result<> add(const std::string& name) {
    std::uint64_t granularity = default_granularity(image_.node().info().cluster_size);
    if (const auto text = arguments_.value("g")) {
      DOPPEL_ASSIGN(granularity, parse_size(*text));
    }
    return session_.run(target_.add_bitmap(name, granularity, true));
  }

  Session& session_;
  const Arguments& arguments_;
  OpenImage& image_;
  block::qcow2::Image& target_;
  block::qcow2::Image& source_;
};

Result<int> run(Session& session, const Arguments& arguments) {
  const std::vector<Action> actions = actions_of(arguments);
  DOPPEL_TRY(check(arguments, actions));
  DOPPEL_ASSIGN(OpenRequest options, image_options(arguments, arguments.rest()[0], true));
  options.backing = block::Backing::kNone;
  options.metadata_only = true;
  DOPPEL_ASSIGN(OpenImage image, OpenImage::open(session, options));
  DOPPEL_ASSIGN(block::qcow2::Image * target, image_with_bitmaps(image));
  std::optional<OpenImage> source_image;
  block::qcow2::Image* source = target;
  if (const auto name = arguments.value("b")) {
    DOPPEL_ASSIGN(OpenRequest from, file_image_options(arguments, *name, false));
    from.format = arguments.value_or("F", "");
    from.backing = block::Backing::kNone;
    from.metadata_only = true;
    DOPPEL_ASSIGN(OpenImage opened, OpenImage::open(session, from));
    source_image.emplace(std::move(opened));
    DOPPEL_ASSIGN(source, image_with_bitmaps(*source_image));
  }
  Actions work(session, arguments, image, *target, *source);
  for (const Action& action : actions) {
    if (auto done = work.carry_out(action); !done) {
      // What was done before it stays, as each action is one of its own.
      (void)image.close();
      return std::unexpected(std::move(done).error().wrap(
          fmt::format("'{}': --{} of bitmap '{}'", image.filename(), action.name, arguments.rest()[1])));
    }
  }
  DOPPEL_TRY(image.close());
  return 0;
}

}  // namespace

const Command kBitmap{
    "bitmap",
    "(--add [-g GRANULARITY] | --remove | --clear | --enable | --disable | --merge BITMAP [-b FILE [-F FMT]])...\n"
    "          [-f FMT] FILE BITMAP",
    kOptions, run};

}  // namespace doppel::img
