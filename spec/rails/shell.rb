# frozen_string_literal: true

require "bundler"
require "fileutils"
require "open3"

# Commands in an application of its own.
module Shell
  # @return [String] what the command printed; fails the example unless it succeeds
  def sh(command, folder)
    output, status = Bundler.with_unbundled_env do
      Open3.capture2e({ "RAILS_ENV" => "development", "DATABASE_URL" => nil }, command, chdir: folder)
    end
    expect(status).to be_success, "#{command}\n#{output}"
    output
  end
end
