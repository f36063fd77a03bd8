# frozen_string_literal: true

require "open3"
require "transfer"

# Finds data files that Python packages carry, without importing the package.
module PackageFile
  CODE = "import sys; from importlib.util import find_spec; spec = find_spec(sys.argv[1]); " \
         "print(spec.submodule_search_locations[0] if spec else '')"

  # @param package [String] name of an installed Python package
  # @param file [String] path within it
  # @return [String, nil] the path of the file; nil if the package is not installed
  def self.path(package, file)
    folder, = Open3.capture2(*Transfer::Python.command, "-c", CODE, package)
    File.join(folder.chomp, file) unless folder.chomp.empty?
  end
end
