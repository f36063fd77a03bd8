# frozen_string_literal: true

# The tables of the reference are complete and true.
RSpec.describe "The reference in docs/" do
  def cells(page)
    text = File.read(File.expand_path("../docs/reference/#{page}.md", __dir__))
    text.scan(/^\| `.*\|$/).map { |line| line.split("|").map { |cell| cell.strip.delete("`") }.drop(1) }
  end

  def errors_of_core
    code = "import inspect, transfer_core.runtime.errors as e\n" \
           "print(*[n for n, c in vars(e).items() if inspect.isclass(c) and issubclass(c, e.TransferError)])"
    core = File.expand_path("../python", __dir__)
    IO.popen({ "PYTHONPATH" => core }, [Workers::PYTHON, "-c", code], &:read).split - ["TransferError"]
  end

  it "lists every error of both sides in docs/reference/errors.md" do
    rows = cells("errors")
    classes = Transfer.constants.map { |name| Transfer.const_get(name) }
    errors = classes.grep(Class).select { |one| one < Transfer::Error }.map { |one| one.name.split("::").last }
    expect(rows.map(&:first)).to match_array(errors)
    expect(rows.select { |row| row[1] == "yes" }.map(&:first)).to match_array(errors_of_core)
  end

  it "lists every setting with its variable and default in docs/reference/settings.md" do
    config = Transfer::Configuration.new({})
    settings = (Transfer::Configuration.public_instance_methods(false).grep(/=\z/) - %i[logger= executor=])
               .map { |name| name.to_s.delete_suffix("=") }
    rows = cells("settings").select { |row| row.size == 4 }
    expect(rows.map { |row| row.take(3) }).to match_array(settings.map do |name|
      default = config.public_send(name)
      default = default.inspect unless default.nil?
      [name, "TRANSFER_#{name.upcase}", default || "none"]
    end)
  end

  it "lists every method of Transfer in docs/reference/ruby.md" do
    names = cells("ruby").flat_map { |row| row.first.gsub(/\(.*?\)/, "").delete("{…}").split(", ") }
    expect(names.map { |name| name.strip.to_sym }).to match_array(Transfer.singleton_methods)
  end

  it "names methods that exist in the pages of models, jobs and predictions" do
    predictions = Transfer::Prediction.constants.map { |name| Transfer::Prediction.const_get(name) }
    { "model" => [Transfer::Model], "prediction" => predictions,
      "job" => [Transfer::Job, Transfer::Run, Transfer::Progress] }.each do |page, owners|
      rows = cells(page).select { |row| row.first.match?(/\A[a-z_?]+(\(|,|\z)/) }
      names = rows.flat_map { |row| row.first.gsub(/\(.*?\)/, "").split(", ") }.map(&:to_sym)
      expect(names.size).to be > 5
      expect(names.reject { |name| owners.any? { |owner| owner.method_defined?(name) } }).to eq([])
    end
  end
end
