# frozen_string_literal: true

RSpec.describe "Pages in a browser", :end_to_end do
  include Browser

  before(:context) { skip "needs #{Browser.missing}. Fix: bin/setup --dev" if Browser.missing }

  # Photos with a hostile label and name, and a corrupt one in the middle.
  def photos
    folder = photo_folder("#{@scratch}/photos", count: 9)
    FileUtils.mv("#{folder}/red", "#{folder}/#{label}")
    FileUtils.mv("#{folder}/blue/0.png", "#{folder}/blue/#{hostile}")
    File.binwrite("#{folder}/green/6.png", File.binread("#{folder}/green/6.png")[0, 200])
    folder
  end

  let(:label) { "<img src=x onerror=alert(2)>" }
  let(:hostile) { %q(<script>alert("1")&'`.png) }

  def expect_accessible(page, file)
    %w[light dark].each do |scheme|
      page.open(file, scheme:)
      expect(page.violations).to eq([])
    end
    expect(page.run("document.documentElement.scrollWidth <= window.innerWidth")).to be(true)
  end

  it "of a model: nothing is requested, labels are text, the keyboard opens pictures, contrast suffices" do
    model = Transfer.train(backbone: "mobilenet_v2", data: photos, on_bad_input: :skip, quiet: true)
    file = model.report("#{@scratch}/report.html", data: "#{@scratch}/photos", on_bad_input: :skip).to_s
    audit = "#{@scratch}/audit.html"
    Transfer.audit(data: "#{@scratch}/photos", report: audit, quiet: true)
    browse("#{@scratch}/chromium") do |page|
      [file, model.path.dirname.join("report.html").to_s, audit].each { |path| expect_accessible(page, path) }
      expect(page.text).to include(label, "green/6.png", "the file is truncated")
      page.open(file)
      page.driver.manage.window.resize_to(400, 800)
      expect(page.run("document.documentElement.scrollWidth <= window.innerWidth")).to be(true)
      expect(page.text).to include(label)
      expect(page.run("document.body.textContent")).to include(hostile)
      page.tab_to(".cell")
      opened = page.run("document.activeElement.popoverTargetElement.id")
      page.press(:enter)
      expect(page.run("document.querySelector(':popover-open').id")).to eq(opened)
      expect(page.run("document.querySelector(':popover-open img').naturalWidth")).to be > 0
      expect(page.violations).to eq([])
      page.press(:escape)
      expect(page.run("document.querySelector(':popover-open')")).to be_nil
      expect(page.run("document.activeElement.className")).to eq("cell")
      expect(page.console).to eq([])
      expect(page.requests).to eq([])
    end
  end
end
