# frozen_string_literal: true

require_relative "gem/lib/transfer/version"

Gem::Specification.new do |spec|
  spec.name = "transfer-rb"
  spec.version = Transfer::VERSION
  spec.authors = ["The transfer-rb authors"]
  spec.summary = "Train image, text and tabular models from Ruby with transfer learning"
  spec.description = <<~TEXT
    Trains models on your own images, texts and tables from pretrained backbones: choose, freeze, add a head, train,
    fine-tune, evaluate. The recipe is Ruby; PyTorch does the work in a process of its own, which `transfer setup`
    installs.
  TEXT
  spec.homepage = "https://github.com/transfer-rb/transfer-rb"
  spec.license = "MIT"
  spec.required_ruby_version = ">= 3.2"
  spec.metadata = {
    "source_code_uri" => "#{spec.homepage}/tree/v#{spec.version}",
    "changelog_uri" => "#{spec.homepage}/blob/v#{spec.version}/CHANGELOG.md",
    "documentation_uri" => "#{spec.homepage}/blob/v#{spec.version}/docs/README.md",
    "bug_tracker_uri" => "#{spec.homepage}/issues",
    "rubygems_mfa_required" => "true"
  }

  spec.files = Dir.chdir(__dir__) do
    Dir["gem/**/*", "sig/**/*", "ext/**/*.{c,h,rb}", "python/**/*.{py,typed,txt,json,toml,html,css}", "docs/**/*",
        "pyproject.toml", "README.md", "LICENSE", "NOTICE", "SECURITY.md", "CHANGELOG.md"]
      .select { |path| File.file?(path) && !path.match?(/transfer_native\.(so|bundle)\z/) }
  end
  spec.require_paths = ["gem/lib"]
  spec.extensions = ["ext/transfer_native/extconf.rb"]
  spec.bindir = "gem/exe"
  spec.executables = ["transfer"]

  spec.add_dependency "msgpack", "~> 1.7"
  spec.add_dependency "ruby-progressbar", "~> 1.11"
  spec.add_dependency "thor", "~> 1.3"
end
