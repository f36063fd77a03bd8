# frozen_string_literal: true

require "pty"

# Completion in real, interactive shells.
RSpec.describe "transfer completions" do
  # Types the text, a tab and Enter where `transfer` is a function that prints its arguments.
  # @return [Array<String>] the arguments
  def arguments(command, shell, typed)
    output, input, pid = PTY.spawn({ "TERM" => "dumb" }, *command)
    input.puts(shell)
    read(output, /^READY/)
    input.puts("transfer #{typed}\t")
    read(output, /<<(.*)>>/)[1].split("|")
  ensure
    [output, input].each(&:close)
    Process.kill(:KILL, pid)
    Process.wait(pid)
  end

  def read(output, pattern)
    shown = +""
    shown << output.readpartial(1000) until (found = pattern.match(shown))
    found
  end

  def script(shell)
    Tempfile.create("completions") do |file|
      file.write(transfer("completions", shell).first)
      file.flush
      yield file.path
    end
  end

  # What is typed, and the arguments after one tab.
  completed = {
    "trai" => %w[train], "runs pru" => %w[runs prune], "runs prune --old" => %w[runs prune --older-than],
    "predict --on-bad-input sk" => %w[predict --on-bad-input skip], "train --earl" => %w[train --early-stopping],
    "train GEMF" => %w[train GEMFILE_OF_SPEC], "train runs GEMF" => %w[train runs GEMFILE_OF_SPEC],
    "train --save GEMF" => %w[train --save GEMFILE_OF_SPEC], "help keyg" => %w[help keygen],
    "completions z" => %w[completions zsh]
  }

  around do |example|
    Dir.mktmpdir { |folder| Dir.chdir(folder) { example.run } }
  end

  before { FileUtils.touch("GEMFILE_OF_SPEC") }

  define = "transfer() { local IFS='|'; echo \"<\"\"<$*>\"\">\"; }; PS1=; echo REA''DY"

  it "complete commands, options, values and files in bash" do
    script("bash") do |file|
      completed.each do |typed, expected|
        expect(arguments(%w[bash --norc --noprofile -i], "source #{file}; #{define}", typed)).to eq(expected)
      end
    end
  end

  it "complete commands, options, values and files in zsh" do
    skip "zsh is not installed" unless system("command -v zsh >/dev/null")
    script("zsh") do |file|
      completed.each do |typed, expected|
        setup = "autoload -U compinit; compinit -u -D; source #{file}; #{define}"
        expect(arguments(%w[zsh -f -i], setup, typed)).to eq(expected)
      end
    end
  end

  it "complete commands, options, values and files in fish" do
    skip "fish is not installed" unless system("command -v fish >/dev/null")
    script("fish") do |file|
      completed.each do |typed, expected|
        out, = Open3.capture2("fish", "--no-config", "-c", "source #{file}; complete -C 'transfer #{typed}'")
        expect(out.lines.map { |line| line.chomp.split("\t").first }).to eq([expected.last])
      end
    end
  end

  it "name the shells there are" do
    expect(transfer("completions", "tcsh")).to eq(
      ["", %(transfer: unknown shell "tcsh" (one of: bash, zsh, fish). Try: transfer help completions\n), 2]
    )
  end
end
