# frozen_string_literal: true

# Python can be loaded into a process once, and never leaves it. So these specs have a process of their own:
#   rspec --exclude-pattern none spec/pycall
Transfer.config.bridge = :pycall

environment = ENV.to_h

# Loaded before anything is looked at for what it leaves behind.
reason =
  begin
    Transfer.backbone("mobilenet_v2")
    nil
  rescue Transfer::DependencyError, Transfer::ConfigurationError => error
    "PyCall can't be used here: #{error.message}"
  end
Transfer.shutdown

RSpec.configure do |config|
  config.before(:context) { skip(reason) if reason }

  # What Python and torch set is set in this process.
  config.after(:context) { ENV.replace(environment) }
end
