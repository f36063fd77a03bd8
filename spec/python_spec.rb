# frozen_string_literal: true

require "fileutils"
require "json"
require "open3"

# Each example runs Ruby with a copy of the gem outside a checkout.
RSpec.describe "Transfer::Python", :scratch do
  before do
    FileUtils.mkdir_p("#{@scratch}/root/gem")
    FileUtils.cp_r(File.expand_path("../gem/lib", __dir__), "#{@scratch}/root/gem/lib")
  end

  let(:home) { "#{@scratch}/home" }
  let(:core) { File.expand_path("../python", __dir__) }

  # The interpreter, or the message of the error.
  def found(code: "puts Transfer::Python.command", **env)
    env = { "HOME" => home, "PATH" => "/nowhere", **env.transform_keys(&:to_s) }
    script = "begin; #{code}; rescue Transfer::PythonNotFound => e; puts e.message; end"
    command = [RbConfig.ruby, "-I", "#{@scratch}/root/gem/lib", "-r", "transfer", "-e", script]
    output, status = Open3.capture2e(env, *command, unsetenv_others: true)
    expect(status).to be_success, output
    output.chomp
  end

  # A file that can be executed; what it says is up to the body.
  def interpreter(path, body = "exit 0")
    FileUtils.mkdir_p(File.dirname(path))
    File.write(path, "#!/bin/sh\n#{body}\n")
    File.chmod(0o755, path)
    path
  end

  def managed_environment(home = "#{self.home}/.local/share/transfer")
    interpreter("#{home}/env/bin/python", "echo started >> #{@scratch}/started").tap do
      File.write("#{home}/env/transfer-setup.json", JSON.generate("gem_version" => "0.1.0"))
    end
  end

  it "prefers the configured interpreter" do
    managed_environment
    chosen = interpreter("#{@scratch}/chosen/python")
    expect(found(TRANSFER_PYTHON: chosen)).to eq(chosen)
    expect(found(TRANSFER_PYTHON: "python9", PATH: "#{@scratch}/none")).to eq(
      "found no Python with the training core. Searched: Transfer.config.python (python9): not found. " \
      "Fix: unset Transfer.config.python and TRANSFER_PYTHON"
    )
  end

  it "searches the PATH for a configured name" do
    python = interpreter("#{@scratch}/bin/python9")
    expect(found(TRANSFER_PYTHON: "python9", PATH: "#{@scratch}/bin")).to eq(python)
  end

  it "takes the managed environment without starting it" do
    python = managed_environment
    expect(found).to eq(python)
    expect(File.exist?("#{@scratch}/started")).to be(false)
  end

  it "repairs the managed environment with transfer setup, and another Python with its pip" do
    commands = [managed_environment, "/my python/bin/python"].map do |python|
      found(code: "puts Transfer::Python.repair_command(\"#{python}\")")
    end
    expect(commands).to eq(["transfer setup --force", "/my\\ python/bin/python -m pip install transfer-core"])
  end

  it "finds the managed environment in TRANSFER_HOME and in XDG_DATA_HOME" do
    in_home = managed_environment("#{@scratch}/transfer_home")
    in_xdg = managed_environment("#{@scratch}/xdg/transfer")
    expect(found(TRANSFER_HOME: "#{@scratch}/transfer_home")).to eq(in_home)
    expect(found(XDG_DATA_HOME: "#{@scratch}/xdg")).to eq(in_xdg)
  end

  it "skips an incomplete managed environment" do
    interpreter("#{home}/.local/share/transfer/env/bin/python")
    expect(found).to include("managed environment (#{home}/.local/share/transfer/env/bin/python): incomplete")
  end

  it "skips a managed environment that other users can write to" do
    python = managed_environment
    home = File.expand_path("../../..", python)
    [home, "#{home}/env"].each do |place|
      File.chmod(0o777, place)
      expect(found).to include("managed environment (#{python}): #{place} can be written by other users (mode 0777). " \
                               "Fix: chmod -R go-w #{place}")
      File.chmod(0o755, place)
    end
    expect(found).to eq(python)
    next if Process.euid.positive?

    File.chown(65_534, 65_534, home)
    expect(found).to include("managed environment (#{python}): #{home} belongs to user 65534, not to user 0. " \
                             "Fix: chown -R 0 #{home}")
    File.chown(0, 0, home)
    FileUtils.mv(home, "#{@scratch}/moved")
    File.symlink("#{@scratch}/moved", home)
    expect(found).to eq(python)
    File.lchown(65_534, 65_534, home)
    expect(found).to include("#{home} is a link that belongs to user 65534. Fix: rm #{home}")
    expect(File.exist?("#{@scratch}/started")).to be(false)
  end

  it "takes the checkout's .venv before VIRTUAL_ENV" do
    python = interpreter("#{@scratch}/root/.venv/bin/python")
    expect(found(VIRTUAL_ENV: "#{@scratch}/venv")).to eq(python)
  end

  it "takes VIRTUAL_ENV and the PATH only if the core is installed there" do
    with_core = interpreter("#{@scratch}/with/bin/python")
    without = interpreter("#{@scratch}/without/bin/python", "exit 1")
    interpreter("#{@scratch}/without/bin/python3", "exit 1")
    expect(found(VIRTUAL_ENV: "#{@scratch}/with")).to eq(with_core)
    expect(found(VIRTUAL_ENV: "#{@scratch}/without", PATH: "#{@scratch}/without/bin")).to include(
      "VIRTUAL_ENV (#{without}): has no transfer_core; PATH (#{without}3): has no transfer_core"
    )
  end

  it "checks that Python has the core" do
    python3 = File.expand_path("../.venv/bin/python3", __dir__)
    bare = "#{@scratch}/bin/python3"
    interpreter(bare, %(exec "#{File.realpath(python3)}" -S "$@"))
    expect(found(PATH: "#{@scratch}/bin")).to include("PATH (#{bare}): has no transfer_core")
    expect(found(PATH: "#{@scratch}/bin", PYTHONPATH: core)).to eq(bare)
  end

  it "lists the candidates" do
    expect(found).to eq(
      "found no Python with the training core. Searched: " \
      "managed environment (#{home}/.local/share/transfer/env/bin/python): not found; " \
      "the checkout's .venv (#{@scratch}/root/.venv/bin/python): not found; " \
      "VIRTUAL_ENV: not set; PATH (python3): not found. Fix: transfer setup"
    )
  end
end
