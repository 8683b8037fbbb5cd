// The block graph of a machine or a tool: nodes by name, and what they refer to (secrets, throttle groups).
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/text.h"
#include "block/context.h"
#include "block/crypto/secret.h"
#include "block/file_node.h"
#include "block/filters/throttle_group.h"
#include "block/image/node_options.h"
#include "block/image/open_image.h"
#include "block/node.h"

namespace doppel::block {

/// What a node takes over from its parent, unless its own options say something else.
struct OpenRules {
  FileOptions file{};
  bool unmap = true;           // discard=unmap; children have it, as their parents decide
  bool metadata_only = false;  // see ImageOptions
  bool repairing = false;
  Backing backing = Backing::kOpen;
};

/// Of one loop's thread. A named node may be used by any number of parents and devices that only read, or by one that
/// writes; it is closed with its last user, and those without any are closed with the graph.
class Graph {
 public:
  /// Told of what a node cannot go on after (blkverify's mismatch); the machine should end.
  using Fatal = std::function<void(const Error&)>;

  /// CONTEXT outlives the graph and all nodes that it gave.
  explicit Graph(Context& context, Fatal fatal = {});
  ~Graph();
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  [[nodiscard]] Context& context() const { return context_; }
  [[nodiscard]] const SecretSet& secrets() const { return secrets_; }
  [[nodiscard]] const Fatal& fatal() const { return fatal_; }

  /// -object of type secret or throttle-group.
  Result<> add_object(std::string_view type, const std::string& id, const OptionTexts& options);
  [[nodiscard]] static bool has_object_type(std::string_view type);
  /// Takes over what OTHER has by add_object(), for the nodes of another thread: secrets, and the limits of throttle
  /// groups, but not their budgets.
  void copy_objects(const Graph& other);
  [[nodiscard]] Result<std::shared_ptr<ThrottleGroup>> throttle_group(std::string_view id) const;
  /// The group of drives that name ID; made with the first of them, whose limits are the group's.
  Result<std::shared_ptr<ThrottleGroup>> drive_throttle_group(const std::string& id, const ThrottleLimits& limits);

  /// What is wrong with the options of a -blockdev, as far as it can be told without opening anything.
  static Result<> check(const NodeOptions& options);
  /// Nodes of -blockdev, opened in this order; one may refer to those before it. Once for each graph. Errors name the
  /// node.
  Task<Result<>> open_all(std::vector<NodeOptions> nodes);
  /// A node that has one owner; with a node-name others may use it too. USER is who owns it, for errors.
  Task<Result<NodePtr>> open(NodeOptions options, OpenRules rules, std::string user);
  /// Option NAME of PARENT: a reference or a definition of its own.
  Task<Result<NodePtr>> open_child(const NodeOptions& parent, std::string_view name, OpenRules rules);

  [[nodiscard]] bool has_node(std::string_view name) const { return find(name) != nullptr; }
  void offer_names(NearestName& nearest) const;
  /// A use of node NAME, to be closed like any node.
  Result<NodePtr> claim(std::string_view name, const std::string& user, bool writes);
  /// Likewise, writing if the node may be written.
  Result<NodePtr> claim(std::string_view name, const std::string& user);

 private:
  class NodeUse;
  struct NamedNode;
  using NamedPtr = std::shared_ptr<NamedNode>;

  [[nodiscard]] NamedPtr find(std::string_view name) const;
  [[nodiscard]] bool wanted_by_a_writer(const std::string& name, unsigned depth) const;
  Task<Result<NodePtr>> open_with_driver(const NodeOptions& options, OpenRules rules);

  Context& context_;
  const Fatal fatal_;
  SecretSet secrets_;
  std::map<std::string, std::shared_ptr<ThrottleGroup>, std::less<>> groups_;
  std::map<std::string, std::weak_ptr<ThrottleGroup>, std::less<>> drive_groups_;
  std::vector<NodeOptions> declared_;  // of open_all()
  std::vector<NamedPtr> named_;        // in the order of opening
};

/// "TYPE options" of a throttle group: limits.bps-total, x-bps-total...
Result<ThrottleLimits> parse_throttle_limits(const OptionTexts& options, std::string_view who);

}  // namespace doppel::block
