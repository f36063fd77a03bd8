# frozen_string_literal: true

RSpec.describe "Choosing data", :end_to_end do
  let(:rows) { "#{@scratch}/rows.csv" }
  let(:model_file) { "#{@scratch}/rows.transfer" }
  let(:words) { { backbone: "sklearn:StandardScaler", data: rows, quiet: true } }

  before do
    random = Random.new(1)
    lines = Array.new(90) { |i| [(i % 3) + random.rand, random.rand, %w[low middle high][i % 3]].join(",") }
    File.write(rows, ["x,y,label", *lines].join("\n"))
  end

  it "selects inputs between two classes, from Ruby and from the shell" do
    model = Transfer.train(**words)
    pool = [0.4, 0.95, 1.5, 2.4].map { |x| { x:, y: 0.5 } }
    selection = model.select(pool, count: 2)
    expect(selection).to have_attributes(method: :margin, considered: 4)
    margins = model.predict(pool).map { |one| one.scores.values.max(2).reduce(:-) }
    expect(selection.map(&:index)).to eq(margins.each_with_index.min_by(2, &:first).map(&:last))
    expect(selection.first.input.transform_keys(&:to_sym)).to eq(pool[selection.first.index])
    expect { model.select(pool, method: :marign) }.to raise_error(Transfer::RecipeError, /did you mean "margin"/)
    model.save(model_file)
    File.write("#{@scratch}/pool.csv", ["x,y", *pool.map { |row| row.values.join(",") }].join("\n"))
    out, err, status = transfer("select", model_file, "#{@scratch}/pool.csv", "--count", "2", "--json")
    expect([JSON.parse(out)["inputs"].map { |one| one["index"] }, err, status])
      .to eq([selection.map(&:index), "", 0])
  end

  it "measures a learning curve, from Ruby and from the shell" do
    curve = Transfer.learning_curve(**words, more: 50)
    expect(curve.measured.map(&:examples)).to eq(curve.measured.map(&:examples).sort)
    expect(curve.measured.last).to have_attributes(examples: 72, value: curve.to_h[:measured].last[:value])
    expect(curve.forecast.map(&:examples)).to eq([108, 144, 288, 576])
    expect(curve.labels.map(&:label)).to match_array(%w[low middle high])
    options = %w[--backbone sklearn:StandardScaler --more 50 --quiet]
    out, err, status = transfer("learning-curve", rows, *options)
    expect([out, err, status]).to eq(["#{curve}\n", "", 0])
    expect(out.lines.drop(1).grep(/●/).size).to eq(curve.measured.size)
  end

  it "audits data, and trains with the corrected table, from Ruby and from the shell" do
    lines = File.readlines(rows, chomp: true)
    lines[5] = lines[5].sub(/\w+\z/, "low")
    File.write(rows, lines.join("\n"))
    report = Transfer.audit(**words)
    expect(report).to have_attributes(modality: :table, task: :classification, examples: 90)
    wrong = report.of(:wrong_label)
    expect(wrong.map { |one| [one.input, one.label, one.suggested] }).to eq([[5, "low", "middle"]])
    table = "#{@scratch}/audit,.csv"
    out, err, status = transfer("audit", rows, "--backbone", "sklearn:StandardScaler", "--output", table, "--report",
                                page = "#{@scratch}/audit.html", "--quiet")
    expect([out, err, status]).to eq(["#{report}\nsaved to #{table}\nsaved to #{page}\n", "", 0])
    expect(File.read(page)).to include("Candidates for wrong labels", "Suggested: middle")
    expect(report.save("#{@scratch}/again.csv").read).to eq(File.read(table))
    File.write(table, File.read(table).sub("5,wrong_label,low", "5,wrong_label,middle"))
    expect(Transfer.audit(**words, corrections: table).of(:wrong_label)).to eq([])
    File.write(table, "input,label,keep\n5,,no\n6,,no\n")
    expect(Transfer.train(**words, corrections: table).summary[:sizes].values.sum).to eq(88)
    File.write(table, "input,label,keep\n5,,no\n91,,no\n")
    expect { Transfer.train(**words, corrections: table) }
      .to raise_error(Transfer::DataError, /line 3: no example of the data is 91/)
  end

  it "estimates a training, from Ruby with a block and from the shell" do
    path = rows
    estimate = Transfer.estimate(quiet: true) do
      backbone "sklearn:StandardScaler"
      data path
    end
    expect(estimate.steps.map(&:step)).to eq(%i[choose freeze head train fine_tune evaluate])
    expect(estimate).to have_attributes(examples: 90, task: :classification, warnings: [])
    expect(estimate.seconds).to be_within(1e-6).of(estimate.steps.sum(&:seconds))
    out, err, status = transfer("estimate", rows, "--backbone", "sklearn:StandardScaler", "--quiet")
    expect([out.lines.map { |line| line[/\w+/] }, err, status])
      .to eq([%w[choose freeze head train fine_tune evaluate total], "", 0])
    adapted = Transfer.estimate(**words, source: rows, adapt: :coral)
    expect(adapted).to have_attributes(examples: be > 90, steps: have_attributes(size: 6))
    expect { Transfer.estimate(**words, backbone: :auto) }.to raise_error(Transfer::RecipeError, /takes its budget/)
  end
end
