# frozen_string_literal: true

require "json"

# Files for Ruby without Python, written by scripts in Python.
module Exported
  SCRIPTS = __dir__
  CORE = File.expand_path("../../python", __dir__)

  # Runs a script of this folder.
  # @return [String] the directory with its files
  def self.write(script, directory, *arguments)
    command = [Workers::PYTHON, "-W", "ignore", "#{SCRIPTS}/#{script}.py", directory, *arguments.map(&:to_s)]
    output, status = Open3.capture2e({ "PYTHONPATH" => CORE }, *command)
    raise output unless status.success?

    directory
  end

  # A private constant of the room.
  def self.const_get(name) = Transfer::Onnx.const_get(name)
end
