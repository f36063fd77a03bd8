# frozen_string_literal: true

# With `-r rbs/test/setup` every call of the public API is compared with its signature (`bin/test signatures`).
if defined?(RBS::Test)
  # A call that raises refused its arguments: only calls that return must match.
  RBS::Test::Observer.singleton_class.prepend(Module.new do
    def notify(key, receiver, trace) = (super unless trace.method_call.exception?)
  end)

  # The frames of the checker belong to the gem, not to the user.
  Transfer.const_get(:Backtrace).singleton_class.prepend(Module.new do
    private

    def inside?(file) = super || file.include?("/rbs/test/")
  end)

  # The checker wraps blocks and calls them with another `self`.
  RSpec.configure { |config| config.filter_run_excluding(signatures: false) }
end
